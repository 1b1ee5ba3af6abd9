package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxThreshold bounds a threshold that is believed.
const maxThreshold = 24 * time.Hour

// String writes the line that PID 1 logs, from Mark on: what is armed, with its
// threshold in seconds.
func (a Armed) String() string {
	var b strings.Builder
	b.WriteString(Mark)
	for _, d := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, " %s=%d", d, a[d]/time.Second)
	}
	return b.String()
}

// parseArmed reads what String wrote behind Mark.
func parseArmed(s string) (Armed, bool) {
	a := Armed{}
	for _, f := range strings.Fields(s) {
		name, value, ok := strings.Cut(f, "=")
		sec, err := strconv.ParseInt(value, 10, 64)
		d := Detector(name)
		if !ok || err != nil || sec < 0 || sec > int64(maxThreshold/time.Second) || !Known(d) {
			return nil, false
		}
		a[d] = time.Duration(sec) * time.Second
	}
	return a, true
}

// Clock ties the kernel's log to the clock of those who read the console.
//
// Both are Xen's system time with an offset: pvclock in the guest, and dom0's
// monotonic clock. So one offset holds for a whole trial, and every line bounds
// it from above: a line cannot arrive before it was written. The smallest bound
// is the estimate, and it is late by what the fastest line took.
type Clock struct {
	offset int64
	ok     bool
}

func (c *Clock) add(printk time.Duration, arrival int64) {
	if off := arrival - int64(printk); !c.ok || off < c.offset {
		c.offset, c.ok = off, true
	}
}

// Instant returns when something was logged, on the readers' clock. ok is false
// if no line with a time was read.
func (c Clock) Instant(printk time.Duration) (ns int64, ok bool) {
	return c.offset + int64(printk), c.ok
}
