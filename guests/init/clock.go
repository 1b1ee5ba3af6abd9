package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// jump is the time by which Later and Earlier move the wall clock.
const jump = time.Hour

// moveClock moves the wall clock by d. The monotonic clock does not change.
func moveClock(d time.Duration) error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	ts = unix.NsecToTimespec(ts.Nano() + int64(d))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}
