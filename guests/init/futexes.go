package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// Operations of futex(2). The locks lie in memory that two processes share, so they are no
// private ones.
const (
	futexWait = 0
	futexWake = 1
)

// pairPause is how long a process of a pair holds its first lock, and how long it sleeps
// without a lock, in nanoseconds.
const pairPause = int64(5 * time.Millisecond)

// pair is what two processes share: two locks, 0 if free and 1 if taken, and whether the
// second process takes them in the other order.
type pair struct{ a, b, crossed uint32 }

// lock takes a lock. A process that waits sleeps in the kernel, interruptibly.
//
//go:nosplit
func lock(word *uint32) {
	for !atomic.CompareAndSwapUint32(word, 0, 1) {
		unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, 1, 0, 0, 0)
	}
}

// unlock releases a lock and wakes whoever waits for it.
//
//go:nosplit
func unlock(word *uint32) {
	atomic.StoreUint32(word, 0)
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, 1<<30, 0, 0, 0)
}

//go:nosplit
func pauseRaw() {
	t := [2]int64{0, pairPause}
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// both takes two locks one after the other, and releases them.
//
//go:nosplit
func both(first, second *uint32) {
	lock(first)
	pauseRaw()
	lock(second)
	unlock(second)
	unlock(first)
	pauseRaw()
}

// partner is what the second process of a pair does again and again.
//
//go:nosplit
func partner(s unsafe.Pointer) unix.Errno {
	p := (*pair)(s)
	if atomic.LoadUint32(&p.crossed) == 0 {
		both(&p.a, &p.b)
	} else {
		both(&p.b, &p.a)
	}
	return 0
}

// cross has the second process take the locks in the other order, or no longer. In the
// latter case both locks are released, whoever has them.
func (p *pair) cross(on bool) {
	if on {
		atomic.StoreUint32(&p.crossed, 1)
		return
	}
	atomic.StoreUint32(&p.crossed, 0)
	unlock(&p.a)
	unlock(&p.b)
}

// Signals by which PID 1 has a pair deadlock, and go on.
const (
	crossSignal   = unix.SIGUSR1
	uncrossSignal = unix.SIGUSR2
)

// futexPair takes two locks again and again, and so does a second process. A raw system call
// would keep the thread that waits for signals from running, so this process's loop is a
// second child.
func futexPair(page *beat.Page, cpu int) error {
	runtime.LockOSThread() // the children end with their parent's thread
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, crossSignal, uncrossSignal)
	b, err := unix.Mmap(-1, 0, blockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("allocate memory to share: %w", err)
	}
	p := (*pair)(unsafe.Pointer(&b[0]))
	f := &firstOfPair{p, page.WorkCounter(cpu)}
	for _, err := range []error{fork(partner, unsafe.Pointer(p)), fork(firstPartner, unsafe.Pointer(f))} {
		if err != nil {
			return fmt.Errorf("make a process of a pair: %w", err)
		}
	}
	for sig := range signals {
		p.cross(sig == crossSignal)
	}
	return nil
}

// fork is forkLoop for a process whose number is of no use.
func fork(step func(unsafe.Pointer) unix.Errno, s unsafe.Pointer) error {
	_, err := forkLoop(step, s)
	return err
}

// firstOfPair is the state of the first process of a pair.
type firstOfPair struct {
	*pair
	counter *uint64
}

// firstPartner takes both locks in their order, and counts.
//
//go:nosplit
func firstPartner(s unsafe.Pointer) unix.Errno {
	f := (*firstOfPair)(s)
	both(&f.pair.a, &f.pair.b)
	atomic.AddUint64(f.counter, 1)
	return 0
}

// crossFutexes has the pairs deadlock, or go on.
func (s *supervisor) crossFutexes(sig unix.Signal) error {
	if !slices.Contains(beat.Parts(s.page.Active()), beat.Futexes.Name) {
		return s.complain(fmt.Errorf("the work %s has no locks of the userland: name the work %s", s.page.Active(),
			beat.Futexes))
	}
	return s.signal(sig)
}
