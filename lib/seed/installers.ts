/**
 * Answers for installers from a form: one system on the whole first disk, one account, no question asked.
 * Sources: Debian's installation guide (appendix B, preseed), pykickstart's documentation, Ubuntu's autoinstall reference.
 *
 * Every value has been checked to be one line of known characters; what goes into a shell is quoted here.
 */
import { stringify } from 'yaml'
import type { InstallerForm } from '../schema/seed.ts'
import { CLOUD_CONFIG } from './cloud-config.ts'

type Form = Omit<InstallerForm, 'password'>

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Run as root in the new system: keys of the account, then the commands of the form. */
function afterwards({ userName, sshKeys, commands, sudo }: Form & { sudo: boolean }): string[] {
  const home = `/home/${userName}`
  return [
    ...(sshKeys.length > 0
      ? [
          `mkdir -p -m 700 ${home}/.ssh`,
          `printf '%s\\n' ${sshKeys.map(quoted).join(' ')} > ${home}/.ssh/authorized_keys`,
          `chown -R ${userName}: ${home}/.ssh`,
        ]
      : []),
    ...(sudo ? [`echo '${userName} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-${userName}`] : []),
    ...commands,
  ]
}

export function preseedOf(form: Form, hostName: string): string {
  const late = afterwards({ ...form, sudo: form.passwordHash === undefined })
  const [host = hostName, ...domain] = hostName.split('.')
  const packages = [...new Set(['openssh-server', 'sudo', ...form.packages])]
  const lines = [
    '# What the Debian installer would ask. Written by Guestdeck.',
    `d-i debian-installer/locale string ${form.locale ?? 'en_US.UTF-8'}`,
    `d-i keyboard-configuration/xkb-keymap select ${form.keyboard}`,
    'd-i netcfg/choose_interface select auto',
    `d-i netcfg/get_hostname string ${host}`,
    `d-i netcfg/hostname string ${host}`,
    `d-i netcfg/get_domain string ${domain.join('.')}`,
    'd-i mirror/country string manual',
    'd-i mirror/http/hostname string deb.debian.org',
    'd-i mirror/http/directory string /debian',
    'd-i mirror/http/proxy string',
    'd-i clock-setup/utc boolean true',
    `d-i time/zone string ${form.timeZone ?? 'Etc/UTC'}`,
    'd-i passwd/root-login boolean false',
    `d-i passwd/user-fullname string ${form.fullName}`,
    `d-i passwd/username string ${form.userName}`,
    // “!” is no hash of anything: the account is there and takes keys alone.
    `d-i passwd/user-password-crypted password ${form.passwordHash ?? '!'}`,
    'd-i partman-auto/method string regular',
    'd-i partman-auto/choose_recipe select atomic',
    'd-i partman-partitioning/confirm_write_new_label boolean true',
    'd-i partman/choose_partition select finish',
    'd-i partman/confirm boolean true',
    'd-i partman/confirm_nooverwrite boolean true',
    'd-i apt-setup/cdrom/set-first boolean false',
    'tasksel tasksel/first multiselect standard',
    `d-i pkgsel/include string ${packages.join(' ')}`,
    'd-i pkgsel/upgrade select none',
    'popularity-contest popularity-contest/participate boolean false',
    'd-i grub-installer/only_debian boolean true',
    'd-i grub-installer/bootdev string default',
    'd-i finish-install/reboot_in_progress note',
    'd-i cdrom-detect/eject boolean false',
    ...(late.length > 0 ? [`d-i preseed/late_command string in-target sh -c ${quoted(late.join('; '))}`] : []),
  ]
  return `${lines.join('\n')}\n`
}

export function kickstartOf(form: Form, hostName: string): string {
  const late = afterwards({ ...form, sudo: form.passwordHash === undefined })
  const lines = [
    '# Answers for Anaconda (Fedora, Red Hat and their kin). Written by Guestdeck.',
    'text',
    `lang ${form.locale ?? 'en_US.UTF-8'}`,
    `keyboard ${form.keyboard}`,
    `timezone ${form.timeZone ?? 'Etc/UTC'} --utc`,
    `network --bootproto=dhcp --device=link --activate --hostname=${hostName}`,
    'rootpw --lock',
    `user --name=${form.userName} --groups=wheel${form.fullName === '' ? '' : ` --gecos="${form.fullName.replace(/["\\]/g, '')}"`}${
      form.passwordHash === undefined ? ' --lock' : ` --iscrypted --password=${form.passwordHash}`
    }`,
    ...form.sshKeys.map((key) => `sshkey --username=${form.userName} "${key}"`),
    'zerombr',
    'clearpart --all --initlabel',
    'autopart',
    'reboot',
    '',
    '%packages',
    '@core',
    ...form.packages,
    '%end',
    ...(late.length > 0 ? ['', '%post', 'set -e', ...late, '%end'] : []),
  ]
  return `${lines.join('\n')}\n`
}

export function autoinstallOf(form: Form, hostName: string): string {
  const late = form.commands.map((command) => ['curtin', 'in-target', '--', 'sh', '-c', command])
  return `${CLOUD_CONFIG}\n${stringify(
    {
      autoinstall: {
        version: 1,
        locale: form.locale ?? 'en_US.UTF-8',
        keyboard: { layout: form.keyboard },
        timezone: form.timeZone ?? 'Etc/UTC',
        identity: {
          hostname: hostName,
          username: form.userName,
          ...(form.fullName === '' ? {} : { realname: form.fullName }),
          // Subiquity wants one; “!” matches no password.
          password: form.passwordHash ?? '!',
        },
        ssh: {
          'install-server': true,
          'allow-pw': form.passwordHash !== undefined,
          ...(form.sshKeys.length > 0 ? { 'authorized-keys': [...form.sshKeys] } : {}),
        },
        storage: { layout: { name: 'direct' } },
        ...(form.packages.length > 0 ? { packages: [...form.packages] } : {}),
        ...(late.length > 0 ? { 'late-commands': late } : {}),
      },
    },
    { lineWidth: 0, aliasDuplicateObjects: false },
  )}`
}
