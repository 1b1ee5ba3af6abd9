package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// The interface of io_uring, from include/uapi/linux/io_uring.h.
const (
	ringPolled   = 1 << 1 // IORING_SETUP_SQPOLL: a thread of the kernel polls for operations
	ringPinned   = 1 << 2 // IORING_SETUP_SQ_AFF: on one vCPU
	ringSQ       = 0      // IORING_OFF_SQ_RING
	ringCQ       = 0x8000000
	ringSQEs     = 0x10000000
	ringEntries  = 8
	ringEntry    = 64      // bytes of struct io_uring_sqe; all zero it is IORING_OP_NOP
	ringPollIdle = 600_000 // after so many milliseconds without an operation the thread sleeps
	ringAsleep   = 1       // IORING_SQ_NEED_WAKEUP: it sleeps, as it also does when it is new
	ringWake     = 1 << 1  // IORING_ENTER_SQ_WAKEUP
	// ringTime bounds the time of one operation.
	ringTime = time.Minute
)

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idleMS, features, wq uint32
	_                                                      [3]uint32
	sq                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// ring is an io_uring with a thread of the kernel that polls.
type ring struct {
	fd                                      uintptr
	sqTail, sqMask, sqFlags, cqHead, cqTail *uint32
	slots                                   []byte // indices of entries, 32 bits each
}

// openRing makes a ring whose thread polls on one vCPU.
func openRing(cpu int) (*ring, error) {
	p := ringParams{flags: ringPolled | ringPinned, cpu: uint32(cpu), idleMS: ringPollIdle}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, fmt.Errorf("set io_uring up with a thread that polls: %w", e)
	}
	mapped := func(offset int64, size uint32) ([]byte, error) {
		b, err := unix.Mmap(int(fd), offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return nil, fmt.Errorf("map the rings of io_uring: %w", err)
		}
		return b, nil
	}
	sq, err := mapped(ringSQ, p.sq.array+4*p.sqEntries)
	if err != nil {
		return nil, err
	}
	cq, err := mapped(ringCQ, p.cq.cqes+16*p.cqEntries)
	if err != nil {
		return nil, err
	}
	if _, err := mapped(ringSQEs, ringEntry*p.sqEntries); err != nil { // they stay zero
		return nil, err
	}
	word := func(b []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[off])) }
	return &ring{
		fd: fd, sqTail: word(sq, p.sq.tail), sqMask: word(sq, p.sq.mask), sqFlags: word(sq, p.sq.flags),
		cqHead: word(cq, p.cq.head), cqTail: word(cq, p.cq.tail), slots: sq[p.sq.array:],
	}, nil
}

// do submits one operation that does nothing and waits until the kernel has done it. No
// system call tells the kernel of it: its thread finds it, once it has been woken.
func (r *ring) do() error {
	done, tail := atomic.LoadUint32(r.cqTail), atomic.LoadUint32(r.sqTail)
	*(*uint32)(unsafe.Pointer(&r.slots[4*(tail&*r.sqMask)])) = 0 // the entry of that number
	atomic.StoreUint32(r.sqTail, tail+1)
	if atomic.LoadUint32(r.sqFlags)&ringAsleep != 0 {
		if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, r.fd, 1, 0, ringWake, 0, 0); e != 0 {
			return fmt.Errorf("wake the thread of io_uring: %w", e)
		}
	}
	for end := time.Now().Add(ringTime); atomic.LoadUint32(r.cqTail) == done; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the kernel's thread does not find an operation of io_uring")
		}
	}
	atomic.StoreUint32(r.cqHead, done+1)
	return nil
}

// kernelPoller has a thread of the kernel poll for operations on its vCPU without a pause,
// and gives it one from time to time.
func kernelPoller(page *beat.Page, cpu int) error {
	r, err := openRing(cpu)
	if err != nil {
		return err
	}
	for {
		if err := r.do(); err != nil {
			return err
		}
		page.Work(cpu)
		time.Sleep(beat.Period / 20)
	}
}
