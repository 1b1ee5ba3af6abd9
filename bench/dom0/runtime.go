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

// room sees to it that so many monitors can sleep at once and what else there is
// still runs. With fewer Ps one monitor's sleep is another one's too, and their guests
// wait for both; with one more than monitors, beside other guests a hang was called
// up to 7 s late.
func room(monitors int) {
	if n := 2 * monitors; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
}

// calm makes the Go runtime a quiet neighbour. Its thread sysmon looks every
// 20 us whether something has to be done as long as any goroutine runs or is in
// a C call. Where dom0 has one CPU and shares it with the guest, each look is a
// wake-up that costs more than most of what the monitor does: without the
// following, an event cost twice and a sample several times as much.
//
//   - Two Ps for each monitor (room): a monitor keeps one
//     while it sleeps, and what becomes ready meanwhile needs another; without an idle one sysmon takes a P away from a
//     thread that is in a C call for 20 us and wakes another thread for it.
//   - Timer slack for sysmon: its sleeps of 20 us end with the next interrupt of
//     any timer, or a second late, and no longer wake the CPU by themselves. What
//     sysmon does late then, taking a P from a long system call and having a
//     goroutine yield, matters little: there is an idle one, and nothing computes for long.
//
// Sysmon is the runtime's first thread beside the main one (runtime.main starts
// it before anything else). If that should change, another thread's sleeps would
// be late by up to a second, the monitor's samples perhaps: their times in the
// records would show it. A kernel without timer slack costs more, and that is all.
func calm() {
	room(1)
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
