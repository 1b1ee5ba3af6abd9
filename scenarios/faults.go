package scenarios

import (
	"hangbench/guests/beat"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

// cdevLock and superLock are where the kernel releases two plain spinlocks: chrdev_open
// when a device is opened, user_get_super when a file system is asked for by its device.
var (
	cdevLock  = inject.Release{Lock: "cdev_lock", Function: "chrdev_open", Unlock: "_raw_spin_unlock"}
	superLock = inject.Release{Lock: "sb_lock", Function: "user_get_super", Unlock: "_raw_spin_unlock"}
)

// faults are the scenarios that a monitor should detect.
func faults() []Scenario {
	return []Scenario{
		{
			ID:       "spinlock-deadlock",
			Summary:  "tasklist_lock is held for writing for ever: tasks that fork, exit or wait spin in the kernel",
			Workload: beat.Idle,
			Class:    "spin",
			Fault:    inject.HoldRWLock("tasklist_lock"),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "spinlock-deadlock-partial",
			Summary:  "file_systems_lock is held for writing for ever: only the last vCPU's task asks for it, and spins",
			Workload: beat.Files,
			Class:    "spin",
			Fault:    inject.HoldRWLock("file_systems_lock"),
			Sign:     sign.Silent{VCPUs: sign.OnlyLast}, MinVCPUs: 2,
		},
		{
			ID:       "spinlock-devices",
			Summary:  "the spinlock cdev_lock is held for ever: tasks that open a device spin with interrupts on",
			Workload: beat.Devices,
			Class:    "spin",
			Fault:    inject.HoldSpinLock("cdev_lock"),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "spinlock-forks",
			Summary:  "pidmap_lock is held for ever: tasks that fork or exit spin in the kernel with interrupts off",
			Workload: beat.Forks,
			Class:    "hard",
			Fault:    inject.HoldSpinLock("pidmap_lock"),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "spinlock-tick",
			Summary:  "jiffies_lock is held for ever: the timer interrupt that advances the kernel's time spins",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    inject.HoldSpinLock("jiffies_lock"),
			Sign:     sign.Silent{VCPUs: sign.First},
		},
		{
			ID:       "spinlock-abba",
			Summary:  "each of two vCPUs has taken one of two locks, keeps it, and asks for the other",
			Workload: beat.Crossed,
			Class:    "spin",
			Fault:    inject.ForgetUnlock(cdevLock, superLock),
			Sign:     sign.Silent{VCPUs: sign.Every}, MinVCPUs: 2,
		},
		{
			ID:       "missing-unlock",
			Summary:  "the kernel once forgets to release cdev_lock: tasks that open a device after that spin",
			Workload: beat.Devices,
			Class:    "spin",
			Fault:    inject.ForgetUnlock(cdevLock),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "irq-restore-lost",
			Summary:  "the last vCPU's task computes in the kernel, and a function it calls has left interrupts off",
			Workload: beat.Kernel,
			Class:    "hard",
			Fault:    inject.LoseInterrupts("chacha_block_generic"),
			Sign:     sign.Silent{VCPUs: sign.OnlyLast},
		},
		{
			// With one vCPU the kernel has no paravirtual spinlocks: the waiter spins with
			// interrupts off for ever. With more vCPUs it halts after a while.
			ID:       "spinlock-irqoff",
			Summary:  "the lock of vCPU 0's run queue is held for ever: vCPU 0 spins with interrupts off",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    inject.HoldRunQueue(0),
			Sign:     sign.Silent{VCPUs: sign.First},
		},
		{
			ID:       "hard-lockup",
			Summary:  "wait4 loops in the kernel with interrupts off: a task that calls it never leaves its vCPU",
			Workload: beat.Idle,
			Class:    "hard",
			Fault:    inject.MaskedLoopIn("kernel_wait4"),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "hard-lockup-partial",
			Summary:  "reading /proc/filesystems loops in the kernel with interrupts off: only the last vCPU's task does",
			Workload: beat.Files,
			Class:    "hard",
			Fault:    inject.MaskedLoopIn("filesystems_proc_show"),
			Sign:     sign.Silent{VCPUs: sign.OnlyLast}, MinVCPUs: 2,
		},
		{
			ID:       "soft-lockup",
			Summary:  "wait4 loops in the kernel with interrupts on: a task that calls it never leaves its vCPU",
			Workload: beat.Idle,
			Class:    "soft",
			Fault:    inject.LoopIn("kernel_wait4", inject.AllVCPUs),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "soft-lockup-partial",
			Summary:  "reading /proc/filesystems loops in the kernel with interrupts on: only the last vCPU's task does",
			Workload: beat.Files,
			Class:    "soft",
			Fault:    inject.LoopIn("filesystems_proc_show", inject.OneVCPU),
			Sign:     sign.Silent{VCPUs: sign.OnlyLast}, MinVCPUs: 2,
		},
		{
			ID:       "mutex-deadlock",
			Summary:  "rtnl_mutex is owned for ever: tasks that configure the network sleep and cannot be killed",
			Workload: beat.Mutex,
			Class:    "blocked",
			Fault:    inject.HoldMutex("rtnl_mutex", beat.Pass),
			Sign:     sign.Stuck{},
		},
		{
			ID:       "fork-bomb",
			Summary:  "processes fork for ever, up to a limit, and leave the others almost no time",
			Workload: beat.Busy,
			Class:    "forkstorm",
			Fault:    inject.Asked("fork bomb", beat.Bomb, beat.Kill),
			Sign:     sign.Slow{},
		},
		{
			ID:       "realtime-hog",
			Summary:  "a real-time task computes on every vCPU and leaves nothing to others, which are runnable and never run",
			Workload: beat.Idle,
			Class:    "starvation",
			Fault:    inject.Asked("real-time tasks", beat.Realtime, beat.Kill),
			Sign:     sign.Silent{VCPUs: sign.Every},
		},
		{
			ID:       "io-stall",
			Summary:  "the disk's backend completes no request any more: tasks that read or write sleep",
			Workload: beat.Disk,
			Class:    "io",
			Fault:    inject.StallDisk(),
			Sign:     sign.Stuck{},
		},
		{
			ID:       "memory-thrash",
			Summary:  "a process locks memory until the others' memory no longer fits: they swap all the time",
			Workload: beat.Pages,
			Class:    "thrash",
			Fault:    inject.Asked("memory locked", beat.Thrash, beat.Kill),
			Sign:     sign.Slow{},
		},
		{
			ID:       "lost-timer",
			Summary:  "timers are not set any more: vCPUs halt and nothing wakes them; it cannot be undone",
			Workload: beat.Idle,
			Class:    "stopped",
			Fault:    inject.LoseTimer("xen_vcpuop_set_next_event"),
			Sign:     sign.Silent{VCPUs: sign.Every}, Final: true,
		},
		{
			ID:       "panic",
			Summary:  "wait4 executes an undefined instruction, and the kernel panics; it cannot be undone",
			Workload: beat.Idle,
			Class:    "panic",
			Fault:    inject.CrashIn("kernel_wait4"),
			Sign:     sign.Ended{}, Final: true,
		},
		{
			ID:       "monitor-livelock",
			Summary:  "the monitor answers a vCPU at its trap and leaves the trap closed: the vCPU meets it again and again",
			Workload: beat.Busy,
			Class:    "monitor-livelock",
			Fault:    inject.Mishandled(),
			Sign:     sign.Held{}, OfMonitor: true,
		},
		{
			ID:       "panic-loop",
			Summary:  "the kernel panics, does not tell the hypervisor, and loops for ever; it cannot be undone",
			Workload: beat.Idle,
			Class:    "panic",
			Fault:    inject.PanicLoop("kernel_wait4", "xen_panic_event"),
			Sign:     sign.Silent{VCPUs: sign.Every}, Final: true,
		},
		{
			ID:       "panic-reboot",
			Summary:  "the kernel panics, does not tell the hypervisor, and reboots at once; it cannot be undone",
			Workload: beat.Idle,
			Class:    "panic",
			Fault:    inject.PanicReboot("kernel_wait4", "xen_panic_event"),
			Sign:     sign.Ended{}, Final: true,
		},
	}
}
