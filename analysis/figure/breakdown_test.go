package figure

import (
	"fmt"
	"image/color"
	"math"
	"strings"
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
		"usual": {Name: "breakdown", Host: "lab", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
			bar("exec-step", "hangbench", 300, 30000, 12000, 2500, 6000),
			bar("exec-step", "C loop", 761, 32000, 22000, 1500, 6400),
			bar("cr3", "hangbench", 90, 31000, 15000, 2400, 6000), bar("cr3", "C loop", 92, 32500, 23000, 1400, 6300),
		}},
		"long-names": {Name: "breakdown", Host: "lab", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
			bar(strings.Repeat("a long mechanism ", 20), strings.Repeat("a long loop ", 30), 300, 30000, 12000, 2500, 6000),
		}},
		"none":     {Name: "breakdown", Host: "xen", Xen: "4.20.4", Kernel: "6.12-test"},
		"no-parts": {Host: "lab", Bars: []BreakdownBar{{Mechanism: "cr3", Loop: "C loop"}}},
		"other": {Name: "breakdown", Host: "xen", Xen: "4.20.4", Kernel: "6.12-test", Bars: []BreakdownBar{
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

// TestReadBreakdown reads the stacked bars of an event.
func TestReadBreakdown(t *testing.T) {
	t.Parallel()
	for name, b := range breakdowns() {
		if name == "long-names" {
			continue // its labels are cut
		}
		r := record(t, b.Figure())
		if len(b.Bars) == 0 {
			r.text(t, "no event was timed")
			continue
		}
		var titles, labels []string
		for _, bar := range b.Bars {
			titles, labels = append(titles, bar.Mechanism), append(labels, fmt.Sprintf("%s, n=%d", bar.Loop, bar.Events))
		}
		if b.Host == "lab" {
			r.text(t, "thousand instructions per event")
		} else {
			r.text(t, "thousand cycles per event")
		}
		axis, ticks := r.xAxis(t, false)
		r.guidedX(t, ticks)
		names := map[string]string{"hypervisor": "hypervisor", "wakeup": "wake-up", "monitor": "monitor",
			"kernel": "dom0 kernel", "of no name": "of no name"}
		for i, row := range rows(t, r, titles, labels) {
			var colors []color.NRGBA
			var ends []float64
			to := 0.0
			for _, p := range b.Bars[i].Parts {
				to += p.Value / 1000
				colors, ends = append(colors, r.key(t, names[p.Name])[0].color), append(ends, to)
			}
			sameStack(t, name, row.marks, axis, colors, ends)
			sum := row.marks.text(t, fmt.Sprintf("%.1f", math.Round(to*10)/10))
			if at := axis.value(sum.pts[0].X - 3); !near(at, to, 1e-6*(1+to)) {
				t.Errorf("%s: the sum of %g is written at %g", name, to, at)
			}
		}
	}
}
