package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const canaryPart = "canary"

// startCanaries starts a process for each canary. Any vCPU may run it.
func (s *supervisor) startCanaries() error {
	for _, c := range beat.AllCanaries() {
		cmd := s.command(canaryPart, strconv.Itoa(int(c)))
		if err := startOn(s.all, cmd); err != nil {
			return fmt.Errorf("start canary %s: %w", c, err)
		}
		s.canaries = append(s.canaries, cmd)
	}
	return nil
}

// sing is the process of a canary, whose number is its only argument.
func sing(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments instead of the number of a canary", len(args))
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n >= len(beat.AllCanaries()) {
		return fmt.Errorf("canary %q is not in 0 to %d", args[0], len(beat.AllCanaries())-1)
	}
	page, err := mapPage(pageFD)
	if err != nil {
		return err
	}
	c := beat.Canary(n)
	// Not time.Sleep: another thread of the process would have to wake this one.
	nap := unix.NsecToTimespec(int64(beat.Period / 2))
	for {
		if err := unix.Nanosleep(&nap, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("canary %s: sleep: %w", c, err)
		}
		singOnce(c)
		page.Sing(c)
	}
}

// singOnce does one unit of a canary. A kernel with a fault may return any error. That is
// no hang.
func singOnce(c beat.Canary) {
	switch c {
	case beat.Opener:
		openOnce(self)
	case beat.Forker:
		pid, err := forkEnd()
		for err == nil {
			if _, err = unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
			err = nil
		}
	case beat.Faulter:
		b, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			b[0] = 1
			unix.Munmap(b)
		}
	}
}

// tellGone tells dom0 which processes have ended: those of the heartbeats, of the work and
// of the canaries. They are not reaped, so that their numbers stay theirs.
func (s *supervisor) tellGone() error {
	ended := func(all []*exec.Cmd, first int) (bits uint64) {
		for i, cmd := range all {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
			// Without an ended process Waitid leaves the signal 0.
			if err == nil && info.Signo != 0 {
				bits |= 1 << (first + i)
			}
		}
		return bits
	}
	g := beat.Gone{Beats: ended(s.beaters, 0), Canaries: ended(s.canaries, 0)}
	if w, ok := findWorkload(s.page.Active()); ok {
		// Those that Again has started come behind the first of each vCPU.
		first := w.first(s.cpus)
		g.Works = ended(s.workers[:min(len(s.workers), s.cpus-first)], first)
	}
	s.page.SetGone(g)
	return nil
}
