package dom0

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
)

// slackNS is how late sysmon's sleeps may end, in nanoseconds.
const slackNS = 1_000_000_000

// raiseGOMAXPROCS sets GOMAXPROCS to at least 2*monitors. Each monitor blocks one P
// while it sleeps. With fewer Ps monitors wait for each other; with only one spare P,
// hangs were reported up to 7 s late (measured with neighbours).
func raiseGOMAXPROCS(monitors int) {
	if n := 2 * monitors; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
}

// tuneRuntime keeps the Go runtime's thread sysmon from waking the CPU. Sysmon looks
// for work every 20 us as long as any goroutine runs or is in a C call. Where dom0
// has one CPU and shares it with the guest, each of these wake-ups costs more than
// most of the monitor's own work: without the following an event cost twice as much,
// and a sample several times.
//
//   - Two Ps for each monitor (raiseGOMAXPROCS): a monitor keeps one P while it
//     sleeps, and a goroutine that becomes ready needs another. Without an idle P
//     sysmon takes one from a thread that has been in a C call for 20 us, and wakes
//     another thread for it.
//   - Timer slack for sysmon: its sleeps of 20 us then end with the next interrupt of
//     any timer, or a second late, and do not wake the CPU by themselves. Its other
//     duties, taking a P from a long system call and preempting a goroutine, are late
//     too. That does not matter: there is an idle P, and nothing computes for long.
//
// Sysmon is the first thread that the runtime starts beside the main one
// (runtime.main). If that changes, the sleeps of another thread are up to a second
// late, perhaps the monitor's samples; their times in the records would show it. On a
// kernel without timer slack monitors cost more and nothing else changes.
func tuneRuntime() {
	raiseGOMAXPROCS(1)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	var tids []int
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	if slices.Sort(tids); len(tids) > 1 {
		os.WriteFile(fmt.Sprintf("/proc/%d/timerslack_ns", tids[1]), []byte(strconv.Itoa(slackNS)), 0)
	}
}
