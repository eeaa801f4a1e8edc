// The container init of a PRoot sandbox, as init-x86_64.S describes it.
.globl _start
_start:
    add x19, sp, #16
    mov x0, x19
    bl end_of_list
    mov x20, x0
    bl end_of_list
    mov x21, x0
    mov x8, #220                // clone
    mov x0, #0x4011         // CLONE_VFORK | SIGCHLD
    mov x1, #0
    mov x2, #0
    mov x3, #0
    mov x4, #0
    svc #0
    cbz x0, child
    mov x22, x0
    bl tell
    sub sp, sp, #16
    mov x8, #260                // wait4
    mov x0, x22
    mov x1, sp
    mov x2, #0
    mov x3, #0
    svc #0
    ldr w0, [sp]
    bl tell
    mov x0, #0
    b leave
child:
    mov x8, #157                // setsid
    svc #0
    mov x8, #25                 // fcntl(3, F_SETFD, FD_CLOEXEC)
    mov x0, #3
    mov x1, #2
    mov x2, #1
    svc #0
    mov x22, #-2            // ENOENT
next:
    ldr x0, [x19], #8
    cbz x0, refused
    mov x1, x21
    mov x2, x20
    mov x8, #221                // execve
    svc #0
    cmn x0, #2
    b.eq next
    cmn x0, #20             // ENOTDIR
    b.eq next
    mov x22, x0
    cmn x0, #13             // EACCES: the next may be executable
    b.eq next
refused:
    mov x0, x22
    bl tell
    mov x0, #127
leave:
    mov x8, #94                 // exit_group
    svc #0
tell:
    sub sp, sp, #16
    str w0, [sp]
    mov x8, #64                 // write
    mov x0, #3
    mov x1, sp
    mov x2, #4
    svc #0
    add sp, sp, #16
    ret
end_of_list:
    ldr x1, [x0], #8
    ldrb w1, [x1]
    cbnz w1, end_of_list
    str xzr, [x0, #-8]
    ret
