; A guest of a few hundred bytes that tells whether an accelerator really executes code.
;
; A 64 KiB ROM for `-bios`: QEMU maps it to end at 4 GiB (and below 1 MiB), the CPU starts at its last 16 bytes.
; It switches to long mode and computes with x87 and SSE, because some hosts open /dev/kvm and run 16-bit and 32-bit
; code but stop at exactly these: a boot sector alone would pass there.
;
; Answers by isa-debug-exit at port 0xf4, which makes QEMU exit with status (value << 1) | 1:
;   0x31 -> 99  everything computed what it should
;   0x21 -> 67  the code ran but a result was wrong
; A fault has no handler: it resets the CPU, and QEMU ends under -no-reboot with status 0.
;
; Assemble: nasm -f bin -o probe.rom probe.asm

ROM     equ 0xffff0000          ; linear address of this file's first byte
EXIT    equ 0xf4
GOOD    equ 0x31
WRONG   equ 0x21
TABLES  equ 0x10000             ; page tables: PML4, PDPT, four page directories
SCRATCH equ 0x8000
ROUNDS  equ 8000000             ; long enough to be interrupted by host timers, some milliseconds

CODE32  equ 0x08
DATA    equ 0x10
CODE64  equ 0x18

        org 0
        bits 16
entry:
        cli
        cld
        o32 lgdt [cs:gdt_pointer]
        mov eax, cr0
        or al, 1                        ; PE
        mov cr0, eax
        jmp dword CODE32:ROM + protected

        bits 32
protected:
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov ss, ax

        ; Identity map of 4 GiB in pages of 2 MiB.
        mov edi, TABLES
        mov ecx, 6 * 1024
        xor eax, eax
        rep stosd
        mov dword [TABLES], TABLES + 0x1000 + 3
        mov eax, TABLES + 0x2000 + 3
        mov edi, TABLES + 0x1000
        mov ecx, 4
.directory:
        mov [edi], eax
        add eax, 0x1000
        add edi, 8
        loop .directory
        mov eax, 0x83                   ; present, writable, 2 MiB
        mov edi, TABLES + 0x2000
        mov ecx, 4 * 512
.page:
        mov [edi], eax
        add eax, 0x200000
        add edi, 8
        loop .page

        mov eax, cr4
        or eax, (1 << 5) | (1 << 9) | (1 << 10) ; PAE, OSFXSR, OSXMMEXCPT
        mov cr4, eax
        mov eax, TABLES
        mov cr3, eax
        mov ecx, 0xc0000080             ; EFER
        rdmsr
        or ah, 1                        ; LME
        wrmsr
        mov eax, cr0
        and eax, ~(1 << 2)              ; no FPU emulation
        or eax, (1 << 31) | (1 << 1)    ; PG, MP
        mov cr0, eax
        jmp CODE64:ROM + long_mode

        bits 64
long_mode:
        ; x87: 1 + 1 is 2, in the layout of a double.
        fninit
        fld1
        fld1
        faddp
        fstp qword [abs SCRATCH]
        fwait
        mov rax, 0x4000000000000000
        cmp rax, [abs SCRATCH]
        jne wrong

        ; SSE: the squares of 1, 2, 3, 4 add up to 30.
        movaps xmm0, [rel numbers]
        mulps xmm0, xmm0
        movaps xmm1, xmm0
        shufps xmm1, xmm1, 0x4e
        addps xmm0, xmm1
        movaps xmm1, xmm0
        shufps xmm1, xmm1, 0xb1
        addps xmm0, xmm1
        cvttss2si eax, xmm0
        cmp eax, 30
        jne wrong

        mov ecx, ROUNDS
        xor rax, rax
.round:
        add rax, rcx
        dec ecx
        jnz .round
        mov rdx, ROUNDS * (ROUNDS + 1) / 2
        cmp rax, rdx
        jne wrong

        mov al, GOOD
        jmp answer
wrong:
        mov al, WRONG
answer:
        out EXIT, al
.idle:
        hlt
        jmp .idle

        align 16
numbers:
        dd 1.0, 2.0, 3.0, 4.0
gdt:
        dq 0
        dq 0x00cf9b000000ffff           ; 32-bit code
        dq 0x00cf93000000ffff           ; data
        dq 0x00af9b000000ffff           ; 64-bit code
gdt_pointer:
        dw gdt_pointer - gdt - 1
        dd ROM + gdt
end_of_code:

        times 0xfff0 - ($ - $$) db 0
        bits 16
        jmp near entry
        times 0x10000 - ($ - $$) db 0
