package observe

import (
	"slices"
	"testing"

	"hangbench/guests/watchdog"
	"hangbench/results"
)

// TestLinuxWatchdogs: the tables know the watchdogs of Linux by the names that their reports
// have here.
func TestLinuxWatchdogs(t *testing.T) {
	t.Parallel()
	var names []string
	for _, d := range watchdog.All() {
		if d != watchdog.Panic && d != watchdog.Xen {
			names = append(names, string(d))
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(results.LinuxWatchdogs()))) {
		t.Errorf("the watchdogs are %q, the tables know %q", names, results.LinuxWatchdogs())
	}
}
