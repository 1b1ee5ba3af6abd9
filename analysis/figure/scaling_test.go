package figure

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// TestReadScaling reads the panels: a line for each mechanism with a point for each
// number, which is the median over the scenarios that were tried with both.
func TestReadScaling(t *testing.T) {
	t.Parallel()
	for shape, figure := range map[string]string{
		"vcpus": "scaling", "vcpus-few": "scaling", "guests": "scaling-guests", "guests-few": "scaling-guests",
	} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := theShape(t, shape)
			f := s.figure(t, figure)
			r := record(t, f)
			noun := map[string]string{"scaling": "vCPUs", "scaling-guests": "guests"}[figure]
			for i, title := range []string{
				"Detection time (median)", "CPU time of dom0, the trial's own included (median)",
				"Progress with / before (median)", "EPT violations a second (median)",
			} {
				at := r.text(t, title)
				left := vg.Length(4 + 247*(i%2))
				bottom := at.pts[0].Y - (r.h-50)/2
				panel := r.in(left, bottom, left+247, at.pts[0].Y-1)
				panel.text(t, noun)
				readScalePanel(t, s, r, panel, title, noun == "vCPUs")
			}
		})
	}
}

func readScalePanel(t *testing.T, s *shape, r, panel *recorder, title string, vcpus bool) {
	t.Helper()
	axis, ticks := panel.yAxis(t, false)
	panel.guidedY(t, ticks)
	numbers := panel.numbers()
	lowest := numbers[len(numbers)-1].pts[0].Y
	at := make(map[int]vg.Length) // the numbers on the x axis
	for _, m := range numbers {
		if n, _ := quantity(m.text); near(float64(m.pts[0].Y), float64(lowest), 0.01) {
			at[int(n)] = m.centre().X
		}
	}
	if len(at) != 2 {
		t.Fatalf("%s: the numbers on the axis are %v", title, at)
	}
	for _, mechanism := range []string{"exec-altp2m", "exec-step", "none"} {
		what := title + " of " + mechanism
		style := r.key(t, mechanism+"/xenctrl")[0]
		var points []mark
		points = append(points, panel.all("disc", style.color)...)
		if mechanism == "none" && title != "CPU time of dom0, the trial's own included (median)" {
			if len(points) > 0 {
				t.Errorf("%s: %d points", what, len(points))
			}
			continue
		}
		if len(points) != 2 {
			t.Errorf("%s: %d points", what, len(points))
			continue
		}
		var line []mark
		for _, m := range panel.all("line", style.color) {
			if m.width == style.width && slices.Equal(m.dashes, style.dashes) &&
				slices.Equal(m.pts, []vg.Point{points[0].pts[0], points[1].pts[0]}) {
				line = append(line, m)
			}
		}
		if len(line) != 1 {
			t.Errorf("%s: %d lines through its points", what, len(line))
		}
		for i, pt := range points {
			sum := stats.Summarize(scaleValues(s, title, mechanism, i+1, vcpus), 0.95)
			if got := axis.value(pt.pts[0].Y); !near(got, sum.Median, 1e-6*(1+sum.Median)) {
				t.Errorf("%s: point %d is at %g, want %g", what, i, got, sum.Median)
			}
			if aside := abs(pt.pts[0].X - at[i+1]); aside > 6 {
				t.Errorf("%s: point %d is %g points beside its number", what, i, aside)
			}
			lo, hi, color := sum.Min, sum.Max, toNRGBA(rangeLine.Color)
			if sum.CI != nil {
				lo, hi, color = sum.CI.Lo, sum.CI.Hi, style.color
			}
			readUpright(t, what, panel, axis, color, pt.pts[0].X, lo, hi)
		}
	}
}

// readUpright fails unless there is a vertical interval of that colour at x, with its two
// ends.
func readUpright(t *testing.T, what string, r *recorder, axis scale, c color.NRGBA, x vg.Length, lo, hi float64) {
	t.Helper()
	var got, ends []float64
	for _, m := range r.all("line", c) {
		if m.width != whiskerWidth || !near(float64(m.centre().X), float64(x), 1e-6) {
			continue
		}
		if m.pts[0].Y == m.pts[1].Y && m.pts[0].X != m.pts[1].X {
			ends = append(ends, axis.value(m.pts[0].Y))
		} else {
			got = append(got, axis.value(m.pts[0].Y), axis.value(m.pts[1].Y))
		}
	}
	sameValues(t, what+": interval", got, []float64{lo, hi})
	sameValues(t, what+": ends of the interval", ends, []float64{lo, hi})
}

// scaleValues are the values of a measure with a mechanism and a number on the axis, over
// the scenarios that were tried with both numbers.
func scaleValues(s *shape, title, mechanism string, number int, vcpus bool) []float64 {
	measure := map[string]analysis.Measure{
		"Detection time (median)": analysis.DetectTime.Of,
		"CPU time of dom0, the trial's own included (median)": func(t *results.Trial) (float64, bool) {
			return 100 * float64(t.Guest.Dom0DuringNS) / float64(t.Guest.PairedNS), true
		},
		"Progress with / before (median)":  analysis.Progress.Of,
		"EPT violations a second (median)": analysis.PerSecond(analysis.EPTTotal.Of),
	}[title]
	var xs []float64
	for i := range s.trials {
		t := &s.trials[i]
		n := t.VCPUs
		if !vcpus {
			n = 1 + t.Neighbours
		}
		if t.Mechanism != mechanism || n != number || t.Scenario == "control-busy" || t.Outcome == results.Invalid {
			continue
		}
		if x, ok := measure(t); ok {
			xs = append(xs, x)
		}
	}
	return xs
}

// TestScaling: what takes twice as long is drawn twice as high, and a scenario that was
// tried with one number only is not compared.
func TestScaling(t *testing.T) {
	t.Parallel()
	for shape, figure := range map[string]string{"vcpus": "scaling", "guests-few": "scaling-guests"} {
		f := theShape(t, shape).figure(t, figure)
		medians := make(map[string]float64)
		for _, row := range f.values[1:] {
			mechanism, _, _ := strings.Cut(row[3], "/")
			median, err := strconv.ParseFloat(row[6], 64)
			if err != nil {
				t.Fatal(err)
			}
			medians[row[1]+" "+mechanism+" "+row[4]] = median
		}
		for _, what := range []string{"Detection time (median)", "EPT violations a second (median)",
			"CPU time of dom0, the trial's own included (median)"} {
			for _, arm := range []string{"exec-step", "exec-altp2m"} {
				one, two := medians[what+" "+arm+" 1"], medians[what+" "+arm+" 2"]
				if one <= 0 || math.Abs(two/one-2) > 1e-6 {
					t.Errorf("%s of %s: %g and %g", what, arm, one, two)
				}
			}
		}
		if strings.Contains(f.Caption(), "control-busy") {
			t.Error("a scenario that was tried with one number only is compared")
		}
	}
}
