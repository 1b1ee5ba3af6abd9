package analysis_test

import (
	"fmt"
	"log"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// A run becomes a set of cells, and each metric has a value for each trial of a cell.
func Example() {
	var trials []results.Trial
	for i, ms := range []int64{612, 655, 580} {
		ns := ms * 1e6
		trials = append(trials, results.Trial{
			Schema: results.Schema, Host: "lab", Suite: "mine", Trial: i, Block: i,
			Cell: results.Cell{
				Scenario: "spinlock-deadlock", Kind: results.Fault, Arm: results.Arm{Mechanism: "poll", Driver: "xenctrl"},
				Machine: results.Machine{GuestKernel: "6.12.1", VCPUs: 2, MemoryMiB: 160},
			},
			Outcome: results.Detected, Class: "spin", Expected: "spin", DetectNS: &ns, DeadlineNS: 8e9,
		})
	}
	set, err := analysis.Group(&results.Run{Trials: trials})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(set.Caption())
	metric, err := analysis.FindMetric("detect_ms")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range set.Cells {
		if median, ok := stats.Median(c.Values(metric.Of)); ok {
			fmt.Printf("%s, %s: %s %g %s of %d trials\n", c.Title(), c.Label, metric.Name, median, metric.Unit, c.Counts.Valid)
		}
	}
	// Output:
	// host: lab (emulated; virtual time); suite: mine; driver: xenctrl; guest: 6.12.1, 2 vCPU, 160 MiB; 3 trials
	// spinlock-deadlock, poll: detect_ms 612 ms of 3 trials
}
