package results_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"hangbench/results"
)

// A run is written trial by trial, in any order, and read whole.
func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	store, err := results.Create(dir, results.Manifest{
		RunID: results.RunID("mine", 7, started), Seed: 7, Planned: 2, Started: started,
		Suite: results.NewSuiteInfo("mine", []byte("name: mine\n")),
		Host:  results.HostInfo{Kind: "lab", Description: "an example"},
		Arms:  results.Arms{"poll": {}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for i := 1; i >= 0; i-- {
		err := store.Append(results.Trial{
			Schema: results.Schema, Suite: "mine", Host: "lab", Trial: i,
			Cell: results.Cell{
				Scenario: "control-idle", Kind: results.Control, Arm: results.Arm{Mechanism: "poll", Driver: "xenctrl"},
				Machine: results.Machine{Kernel: "cloud-6.12", GuestKernel: "6.12.118", VCPUs: 1, MemoryMiB: 160},
			},
			Outcome: results.Clean, WindowNS: 2e9,
		}, 3*time.Second)
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := store.Close(started.Add(time.Minute)); err != nil {
		log.Fatal(err)
	}

	run, err := results.ReadRun(store.Dir(), nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range run.Trials {
		fmt.Println(t.Trial, t.Title(), t.Mechanism, t.Outcome)
	}
	fmt.Println(run.Missing(), "missing,", len(run.Bad), "damaged")
	// Output:
	// 0 control-idle poll clean
	// 1 control-idle poll clean
	// 0 missing, 0 damaged
}
