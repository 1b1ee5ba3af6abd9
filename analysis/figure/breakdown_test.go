package figure

import (
	"testing"
)

// breakdowns are made-up breakdowns of the shapes that the figure must survive.
func breakdowns() map[string]*Breakdown {
	bar := func(mechanism, loop string, n int, hyp, wake, monitor, kernel float64) BreakdownBar {
		return BreakdownBar{mechanism, loop, n, []BreakdownPart{
			{"hypervisor", hyp}, {"wakeup", wake}, {"monitor", monitor}, {"kernel", kernel},
		}}
	}
	return map[string]*Breakdown{
		"usual": {Host: "lab", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
			bar("exec-step", "hangbench", 300, 30000, 12000, 2500, 6000), bar("exec-step", "C loop", 761, 32000, 22000, 1500, 6400),
			bar("cr3", "hangbench", 90, 31000, 15000, 2400, 6000), bar("cr3", "C loop", 92, 32500, 23000, 1400, 6300),
		}},
		"none":     {Host: "xen", Xen: "4.20.4", Kernel: "6.12-test"},
		"no-parts": {Host: "lab", Bars: []BreakdownBar{{Mechanism: "cr3", Loop: "C loop"}}},
		"other": {Host: "xen", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
			{Mechanism: "x", Loop: "y", Events: 1, Parts: []BreakdownPart{{"of no name", 5}}},
		}},
	}
}

func TestBreakdownGolden(t *testing.T) {
	t.Parallel()
	for name, b := range breakdowns() {
		sameAsGolden(t, "breakdown-"+name, b.Figure())
	}
}
