package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis"
	"hangbench/analysis/stats"
)

// TestReadSweep reads the panels: a point for each value of a threshold.
func TestReadSweep(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{"sweep", "sweep-few", "sweep-crowded"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := theShape(t, shape)
			r := record(t, s.figure(t, "sweep"))
			names := s.set.Swept()
			for i, name := range names {
				at := r.text(t, name).bounds()
				left := vg.Length(4 + 494.0/3*float64(i%3))
				panel := r.in(left, at.Max.Y-1.75*vg.Inch+4, left+494.0/3-4, at.Min.Y-1)
				points, err := s.set.Sweep(name, 0.95)
				if err != nil {
					t.Fatal(err)
				}
				readSweepPanel(t, name, r, panel, points)
			}
		})
	}
}

func readSweepPanel(t *testing.T, name string, r, panel *recorder, points []analysis.SweepPoint) {
	t.Helper()
	x, _ := panel.xAxis(t, false)
	y, ticks := panel.yAxis(t, false)
	panel.guidedY(t, ticks)
	interval := r.key(t, "95% interval")[0].color
	lines := make(map[color.NRGBA][]vg.Point) // through the points of an arm
	var missed []float64
	var quiet []string
	for _, pt := range points {
		what := fmt.Sprintf("%s %d of %s", name, pt.Value, pt.Arm)
		if pt.N == 0 || len(pt.Lives) == 0 {
			if ms := panel.texts(func(s string) bool { return s == strconv.FormatInt(pt.Value, 10) }); len(ms) > 0 {
				t.Errorf("%s is drawn, though it has no place on an axis", what)
			}
			continue
		}
		for _, q := range pt.Quiet {
			if !slices.Contains(quiet, q) {
				quiet = append(quiet, q)
			}
		}
		ci, err := stats.ClopperPearson(pt.Alarms, pt.N, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		km, err := stats.KaplanMeier(pt.Lives, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		share := 100 * float64(pt.Alarms) / float64(pt.N)
		at := vg.Point{X: x.at(share)}
		style := r.key(t, pt.Arm)[0].color
		td, detected := km.Quantile(0.5)
		if detected {
			at.Y = y.at(td.Time / 1000)
			lines[style] = append(lines[style], at)
			if !slices.ContainsFunc(panel.all("disc", style), func(m mark) bool {
				return closeTo(m.pts[0], at) && m.radius == 2.2
			}) {
				t.Errorf("%s has no point at %g%% and %g s", what, share, td.Time/1000)
			}
			readTime(t, what, panel, y, at, interval, td)
		} else {
			missed = append(missed, share)
			strip := panel.all("line", missMark.Color)[0].centre().Y
			at.Y = strip
			if strip < panel.highest("disc") {
				t.Errorf("%s is drawn at %g, below a point with a time", what, strip)
			}
		}
		readAlarms(t, what, panel, x, at, ci)
		readLabel(t, what, panel, at, strconv.FormatInt(pt.Value, 10))
	}
	sameValues(t, name+": crosses", panel.crosses(x, missMark.Color), missed)
	for style, pts := range lines {
		found := slices.ContainsFunc(panel.all("line", style), func(m mark) bool {
			return slices.EqualFunc(m.pts, pts, closeTo)
		})
		if len(pts) > 1 && !found {
			t.Errorf("%s: no line of %v through %v", name, style, pts)
		}
	}
	label := panel.texts(func(s string) bool { return strings.HasPrefix(s, "false alarms") })
	slices.Sort(quiet)
	if len(label) != 1 || label[0].text != "false alarms" && label[0].text != "false alarms: "+strings.Join(quiet, "; ") {
		t.Errorf("%s: the axis is labelled %v", name, label)
	}
}

func closeTo(a, b vg.Point) bool {
	return near(float64(a.X), float64(b.X), 1e-6) && near(float64(a.Y), float64(b.Y), 1e-6)
}

// highest is the height of the highest mark of a kind.
func (r *recorder) highest(kind string) vg.Length {
	top := vg.Length(0)
	for _, m := range r.marks {
		if m.kind == kind {
			top = max(top, m.centre().Y)
		}
	}
	return top
}

// readTime fails unless the interval of a detection time is drawn. One without an upper end
// goes to the upper edge of the panel.
func readTime(t *testing.T, what string, panel *recorder, y scale, at vg.Point, c color.NRGBA, td stats.Quantile) {
	t.Helper()
	found := false
	for _, m := range panel.all("line", c) {
		if !near(float64(m.centre().X), float64(at.X), 1e-6) || len(m.pts) != 2 ||
			!near(y.value(m.pts[0].Y), td.Lo/1000, 1e-6) {
			continue
		}
		upper := y.value(m.pts[1].Y)
		found = found || near(upper, td.Hi/1000, 1e-6) || math.IsInf(td.Hi, 1) && upper > y.value(panel.highest("disc"))
	}
	if !found {
		t.Errorf("%s has no interval from %g to %g s", what, td.Lo/1000, td.Hi/1000)
	}
}

// readAlarms fails unless the interval of the share of false alarms is drawn.
func readAlarms(t *testing.T, what string, panel *recorder, x scale, at vg.Point, ci stats.Interval) {
	t.Helper()
	if !slices.ContainsFunc(panel.all("line", lightGrey), func(m mark) bool {
		return m.width == whiskerWidth && near(float64(m.centre().Y), float64(at.Y), 1e-6) &&
			near(x.value(m.pts[0].X), 100*ci.Lo, 1e-6) && near(x.value(m.pts[1].X), 100*ci.Hi, 1e-6)
	}) {
		t.Errorf("%s has no interval from %g%% to %g%%", what, 100*ci.Lo, 100*ci.Hi)
	}
}

// readLabel fails unless the value of the threshold is written beside the point, on a
// white ground.
func readLabel(t *testing.T, what string, panel *recorder, at vg.Point, value string) {
	t.Helper()
	for _, m := range panel.texts(func(s string) bool { return s == value }) {
		b := m.bounds()
		if m.size != textSize-1 || min(abs(b.Min.X-at.X), abs(b.Max.X-at.X)) > 5.01 || b.Max.Y < at.Y || b.Min.Y > at.Y+40 {
			continue
		}
		if slices.ContainsFunc(panel.all("fill", white), func(ground mark) bool {
			g := ground.bounds()
			return g.Min.X < b.Min.X && g.Max.X > b.Max.X && near(float64(g.Max.Y-g.Min.Y), 7, 1e-6) &&
				near(float64(ground.centre().Y), float64(m.centre().Y), 1)
		}) {
			return
		}
	}
	t.Errorf("%s: %s is not written beside its point", what, value)
}

// TestSweep: what is drawn is what was planted, one point for each value.
func TestSweep(t *testing.T) {
	t.Parallel()
	f := theShape(t, "sweep").figure(t, "sweep")
	for i, want := range []string{
		"lab,io_ms,250,exec-altp2m,6,6,0.752,", "lab,io_ms,500,exec-altp2m,6,6,1.002,",
		"lab,io_ms,1000,exec-altp2m,6,6,1.502,", "lab,io_ms,2500,exec-altp2m,6,6,3.002,",
		"lab,soft_ms,500,exec-altp2m,6,6,1.002,", "lab,soft_ms,4000,exec-altp2m,6,6,4.502,",
		"lab,soft_ms,9000,exec-altp2m,6,0,,,,12,0,0,",
	} {
		if i+1 >= len(f.values) || !strings.HasPrefix(strings.Join(f.values[i+1], ","), want) {
			t.Errorf("row %d of %q does not begin with %q", i, f.values, want)
		}
	}
	for _, want := range []string{
		"io_ms: faults io-stall (n = 6 a value); no alarm is right for control-slow-disk (n = 6 a value)",
		"no alarm is right for control-kernel-work; soft-lockup, 2 s (n = 12 a value)", "A cross"} {
		if !strings.Contains(f.Caption(), want) {
			t.Errorf("the caption does not say %q: %s", want, f.Caption())
		}
	}
}
