package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"hangbench/analysis/stats"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

func (a *app) benchCommand() *cobra.Command {
	return a.group("bench", "measure the harness itself",
		a.benchLab("lab"), a.benchEvent(), a.benchPrices(), a.benchMisses(), a.benchSites(),
		a.benchKill())
}

// defaultGuest is the guest of commands that measure one guest without a suite.
func defaultGuest() suites.Guest {
	return suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: 1, MemoryMiB: 160}
}

// figures returns the measured times of a lab host, in seconds, by the names that a
// run's manifest gives them.
func figures(t labhost.Times) map[string]float64 {
	m := map[string]float64{}
	if t.ColdBootSec > 0 {
		m["cold_boot_sec"] = round(t.ColdBootSec)
	}
	if t.GuestBootSec > 0 {
		m["guest_boot_sec"] = round(t.GuestBootSec)
	}
	if median, ok := stats.Median(t.Restores); ok {
		m["restore_median_sec"] = round(median)
		m["restore_max_sec"] = round(slices.Max(t.Restores))
	}
	return m
}

// round rounds seconds to milliseconds: more digits of a wall time are noise.
func round(sec float64) float64 { return float64(int64(sec*1e3+0.5)) / 1e3 }
