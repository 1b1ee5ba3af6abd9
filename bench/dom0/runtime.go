package dom0

import (
	"os"
	"runtime"
	"strconv"
)

// slackNS is how late a thread's sleep may end, in nanoseconds. Samples are
// dithered by more than that.
const slackNS = 1_000_000

// calm makes the Go runtime a quiet neighbour. Its thread sysmon looks every
// 20 us whether something has to be done as long as any goroutine runs or is in
// a C call. Where dom0 has one CPU and shares it with the guest, each look is a
// wake-up that costs more than most of what the monitor does: without the
// following, an event cost twice and a sample several times as much.
//
//   - A second P: with one, sysmon takes it away from a thread that is in a C call
//     for 20 us and wakes another thread for it; with an idle one it waits 10 ms.
//   - Timer slack: sysmon's sleeps of 20 us then end a millisecond late, or with
//     the next thing to do.
//
// It is no mistake if the kernel has no timer slack to set: it only costs.
func calm() {
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	// Threads made later inherit it from these.
	for _, t := range threads {
		os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(strconv.Itoa(slackNS)), 0)
	}
}
