package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxThreshold is the largest threshold that is accepted.
const maxThreshold = 24 * time.Hour

// String returns the line that PID 1 writes into the kernel's log, from mark on: each
// armed detector with its threshold in seconds.
func (a Armed) String() string {
	var b strings.Builder
	b.WriteString(mark)
	for _, d := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, " %s=%d", d, a[d]/time.Second)
	}
	return b.String()
}

// parseArmed parses the text that String has written behind mark.
func parseArmed(s string) (Armed, bool) {
	a := Armed{}
	for _, f := range strings.Fields(s) {
		name, value, ok := strings.Cut(f, "=")
		sec, err := strconv.ParseInt(value, 10, 64)
		d := Detector(name)
		if !ok || err != nil || sec < 0 || sec > int64(maxThreshold/time.Second) || !known(d) {
			return nil, false
		}
		a[d] = time.Duration(sec) * time.Second
	}
	return a, true
}

// Clock converts times of the kernel's log to the clock of the console's reader.
//
// Both clocks are Xen's system time with an offset: pvclock in the guest, and dom0's
// monotonic clock. One offset therefore holds for a whole trial. Every line bounds it
// from above, because no line arrives before it is written. The smallest bound is the
// estimate. Its error is the delay of the fastest line.
type Clock struct {
	offset int64
	ok     bool
}

func (c *Clock) add(printk time.Duration, arrival int64) {
	if off := arrival - int64(printk); !c.ok || off < c.offset {
		c.offset, c.ok = off, true
	}
}

// Instant returns the time in ns on the reader's clock for a time in the kernel's log.
// ok is false if no line with a time has been read.
func (c Clock) Instant(printk time.Duration) (ns int64, ok bool) {
	return c.offset + int64(printk), c.ok
}
