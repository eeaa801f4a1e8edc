# The container init of a PRoot sandbox.  Its arguments are
#
#     PATH... "" NAME=VALUE... "" ARG...
#
# It makes a child, which begins a session and executes the first PATH that can be executed, with
# these arguments and this environment.  To descriptor 3 it writes 32-bit numbers: -errno if nothing
# could be executed, or else the child's PID once it has executed the program, and then its status
# (wait(2)).  CLONE_VFORK keeps this order.
#
#     as -o init.o init-x86_64.S && objcopy -O binary -j .text init.o init.bin
.intel_syntax noprefix
.globl _start
_start:
    lea rbx, [rsp+16]
    mov rdi, rbx
    call end_of_list
    mov r12, rdi
    call end_of_list
    mov r13, rdi
    mov eax, 56                 # clone
    mov edi, 0x4011             # CLONE_VFORK | SIGCHLD
    xor esi, esi
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    syscall
    test eax, eax
    jz child
    push rax
    mov r14, rax
    call tell
    mov eax, 61                 # wait4
    mov rdi, r14
    lea rsi, [rsp]
    xor edx, edx
    xor r10d, r10d
    syscall
    call tell
    xor edi, edi
    jmp leave
child:
    mov eax, 112                # setsid
    syscall
    mov eax, 72                 # fcntl(3, F_SETFD, FD_CLOEXEC)
    mov edi, 3
    mov esi, 2
    mov edx, 1
    syscall
    mov r14d, -2                # ENOENT
next:
    mov rdi, [rbx]
    add rbx, 8
    test rdi, rdi
    jz refused
    mov rsi, r13
    mov rdx, r12
    mov eax, 59                 # execve
    syscall
    cmp eax, -2
    je next
    cmp eax, -20                # ENOTDIR
    je next
    mov r14d, eax
    cmp eax, -13                # EACCES: the next may be executable
    je next
refused:
    push r14
    call tell
    mov edi, 127
leave:
    mov eax, 231                # exit_group
    syscall
tell:
    mov eax, 1                  # write
    mov edi, 3
    lea rsi, [rsp+8]
    mov edx, 4
    syscall
    ret
end_of_list:
    mov rax, [rdi]
    add rdi, 8
    cmp byte ptr [rax], 0
    jne end_of_list
    mov qword ptr [rdi-8], 0
    ret
