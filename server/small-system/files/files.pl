# Reads files of one disk through libguestfs's small system, for the dashboard at the other end of a socket. Runs in the
# tool sandbox; the disk comes as blocks over another socket.
#
# Both directions: a frame is its length (32 bits, big-endian) and fields, each with its length before it. A request is a
# verb and its arguments; an answer is `ok` and fields, or `mount` or `failed`, the system's error number and its words.
# Names and content are bytes: nothing is quoted, and nothing is taken for an option or a command.
use strict;
use warnings;
use IO::Socket::UNIX;
use Sys::Guestfs;

my ($socket, $disk) = @ARGV;
my $peer = IO::Socket::UNIX->new(Peer => $socket) or die "no dashboard: $!\n";
binmode $peer;
$peer->autoflush(1);
# Who listens no more ends it.
$SIG{PIPE} = 'DEFAULT';

use constant {
    MAX_REQUEST => 64 * 1024,
    # Of one directory, as with the dashboard's own readers.
    MAX_ENTRIES => 20_000,
    # Names whose facts are asked for at once: libguestfs's messages are bounded.
    AT_ONCE => 1000,
    MAX_VOLUMES => 100,
};

sub take {
    my ($wanted) = @_;
    my $bytes = '';
    while (length $bytes < $wanted) {
        my $got = read $peer, $bytes, $wanted - length $bytes, length $bytes;
        exit 0 unless $got;
    }
    return $bytes;
}

sub answer {
    my $frame = pack '(N/a*)*', @_;
    print {$peer} pack('N', length $frame), $frame;
}

my $g = Sys::Guestfs->new();
$g->set_network(0);
$g->set_autosync(0);
# What it would write (a journal played back) goes to a file of its own that is thrown away.
$g->add_drive('', protocol => 'nbd', server => ["unix:$disk"], format => 'raw', readonly => 1);
$g->launch();
answer('ok');

my $mounted = '';

# One file system at a time, and read-only.
sub mounted {
    my ($device) = @_;
    return if $mounted eq $device;
    $mounted = '';
    $g->umount_all();
    my $options = 'ro,nodev,nosuid,noexec';
    # All subvolumes, as directories of the top, and not the one that was chosen for the guest.
    $options .= ',subvolid=5' if $g->vfs_type($device) eq 'btrfs';
    $g->mount_options($options, $device, '/');
    $mounted = $device;
}

sub facts {
    my ($stat) = @_;
    return map { $stat->{"st_$_"} } qw(ino mode size mtime_sec mtime_nsec);
}

# What fails with one volume must not hide the others.
sub tolerant {
    my ($ask) = @_;
    return eval { $ask->() } // '';
}

my %verbs = (
    volumes => sub {
        my @volumes = sort $g->lvs();
        splice @volumes, MAX_VOLUMES if @volumes > MAX_VOLUMES;
        return map {
            my $device = $_;
            (
                $device,
                tolerant(sub { $g->vfs_type($device) }),
                tolerant(sub { $g->vfs_label($device) }),
                tolerant(sub { $g->blockdev_getsize64($device) }),
            );
        } @volumes;
    },
    stat => sub {
        my ($path) = @_;
        my %stat = $g->lstatns($path);
        return facts(\%stat);
    },
    list => sub {
        my ($path) = @_;
        my @names = grep { $_ ne '.' && $_ ne '..' } map { $_->{name} } $g->readdir($path);
        my $cut = @names > MAX_ENTRIES ? 1 : 0;
        splice @names, MAX_ENTRIES if $cut;
        my @found = ($cut);
        while (my @some = splice @names, 0, AT_ONCE) {
            my @stats = $g->lstatnslist($path, \@some);
            push @found, map { ($some[$_], facts($stats[$_])) } 0 .. $#some;
        }
        return @found;
    },
    read => sub {
        my ($path, $offset, $count) = @_;
        return $g->pread($path, $count, $offset);
    },
    link => sub {
        my ($path) = @_;
        return $g->readlink($path);
    },
);

while (1) {
    my $length = unpack 'N', take(4);
    exit 1 if $length > MAX_REQUEST;
    my ($verb, $device, @arguments) = unpack '(N/a*)*', take($length);
    my $do = $verbs{ $verb // '' } or exit 1;
    my $state = 'failed';
    my @fields = eval {
        if ($verb ne 'volumes') {
            $state = 'mount';
            mounted($device);
            $state = 'failed';
        }
        $do->(@arguments);
    };
    if ($@) {
        # Of the last call: before any other.
        my ($errno, $words) = ($g->last_errno(), substr $@, 0, 1000);
        # Ended or stuck: there is nothing to go on with.
        exit 1 unless $g->is_ready();
        answer($state, $errno, $words);
    }
    else {
        answer('ok', @fields);
    }
}
