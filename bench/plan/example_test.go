package plan_test

import (
	"fmt"

	"hangbench/bench/plan"
	"hangbench/scenarios/suites"
)

// A suite of two scenarios and two mechanisms has four cells. Each block runs them in
// an order of its own. Within a block the two trials of a scenario share their seed.
func ExampleExpand() {
	suite := &suites.Suite{
		Name:        "example",
		Scenarios:   []string{"spinlock-deadlock", "control-idle"},
		Mechanisms:  []string{"exec-step", "exec-altp2m"},
		Drivers:     []string{"xenctrl"},
		Guests:      []suites.Guest{{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160}},
		Repetitions: 2,
	}
	for _, t := range plan.Expand(suite, 7) {
		fmt.Printf("%d  block %d  %-17s %-11s  seed %016x\n", t.Index, t.Block, t.Scenario, t.Mechanism, t.Seed)
	}
	// Output:
	// 0  block 0  control-idle      exec-altp2m  seed 044c3cd7f43c661c
	// 1  block 0  spinlock-deadlock exec-step    seed 63cbe1e459320dd7
	// 2  block 0  control-idle      exec-step    seed 044c3cd7f43c661c
	// 3  block 0  spinlock-deadlock exec-altp2m  seed 63cbe1e459320dd7
	// 4  block 1  control-idle      exec-step    seed 6c06e1d0f3a458a3
	// 5  block 1  control-idle      exec-altp2m  seed 6c06e1d0f3a458a3
	// 6  block 1  spinlock-deadlock exec-altp2m  seed 962264e9a839c269
	// 7  block 1  spinlock-deadlock exec-step    seed 962264e9a839c269
}
