package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

// watchdogSwitch turns the kernel's watchdogs of lockups on and off. They have a timer on
// each vCPU.
const watchdogSwitch = "/proc/sys/kernel/watchdog"

// hush stops the heartbeats and the workload, turns the kernel's watchdogs off, and sleeps
// for beat.HushTime. Nothing of the guest's userland runs meanwhile. Then all go on.
func (s *supervisor) hush() error {
	on, err := readNumber(watchdogSwitch)
	if err != nil || on == 0 {
		return s.complain(s.silence(beat.HushTime)) // this kernel has no watchdogs, or they are off
	}
	if err := writeNumber(watchdogSwitch, 0); err != nil {
		return s.complain(fmt.Errorf("turn the watchdogs off: %w", err))
	}
	return s.complain(errors.Join(s.silence(beat.HushTime), writeNumber(watchdogSwitch, on)))
}

// silence stops every process but this one for a time, and sleeps.
func (s *supervisor) silence(d time.Duration) error {
	all := slices.Concat(s.beaters, s.workers)
	if err := signalAll(all, unix.SIGSTOP); err != nil {
		return err
	}
	before, err := timerTicks()
	if err == nil {
		err = sleepRaw(d)
	}
	if after, aerr := timerTicks(); err == nil && aerr == nil {
		fmt.Printf("hangbench-init: %d timer interrupts in %v of silence\n", after-before, d)
	}
	return errors.Join(err, signalAll(all, unix.SIGCONT))
}

// sleepRaw sleeps without the Go scheduler, one of whose threads would have to wake this
// one.
func sleepRaw(d time.Duration) error {
	t := unix.NsecToTimespec(int64(d))
	for {
		if err := unix.Nanosleep(&t, &t); err != unix.EINTR {
			return err
		}
	}
}

// timerTicks returns how many interrupts of timers all vCPUs have had.
func timerTicks() (uint64, error) {
	b, err := os.ReadFile("/proc/interrupts")
	if err != nil {
		return 0, err
	}
	return countTimers(b), nil
}

// countTimers adds up the columns of each line of /proc/interrupts about a timer: those of
// the processor's own ("Local timer interrupts") and of Xen's ("timer0").
func countTimers(interrupts []byte) (n uint64) {
	for line := range bytes.Lines(interrupts) {
		if !bytes.Contains(line, []byte("timer")) {
			continue
		}
		fields := bytes.Fields(line)
		for _, f := range fields[1:] {
			count, err := strconv.ParseUint(string(f), 10, 64)
			if err != nil {
				break // the rest is text
			}
			n += count
		}
	}
	return n
}
