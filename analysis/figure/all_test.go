package figure

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image/png"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

func find(t *testing.T, all []*Figure, name string) *Figure {
	t.Helper()
	i := slices.IndexFunc(all, func(f *Figure) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no figure %s", name)
	}
	return all[i]
}

// TestAllDrawn draws every figure of every shape of run: well formed, labelled
// with the host, nothing at the edge, and the same bytes again.
func TestAllDrawn(t *testing.T) {
	shapes := cases()
	long := madeup.Trials(50) // more trials than dots
	for i := range long {
		long[i].Mechanism = strings.Replace(long[i].Mechanism, "exec-step", "exec-altp2m-fast", 1)
	}
	shapes["long"] = long
	shapes["sweep"] = madeup.Sweep(6)
	shapes["listened"] = madeup.Listened(8)
	shapes["work"] = madeup.Workloads(8)
	shapes["work-few"] = madeup.Workloads(2)
	stopped := madeup.Workloads(1) // a guest that the monitor stops altogether
	for i := range stopped {
		for j, w := range stopped[i].Workload.Windows {
			if w.Monitor && stopped[i].Mechanism == "poll" {
				stopped[i].Workload.Windows[j].Ops = 0
			}
		}
	}
	shapes["work-stopped"] = stopped
	for name, trials := range shapes {
		t.Run(name, func(t *testing.T) {
			all, err := All(trials)
			if err != nil {
				t.Fatal(err)
			}
			again, err := All(trials)
			if err != nil || len(again) != len(all) {
				t.Fatalf("%d figures, then %d: %v", len(all), len(again), err)
			}
			for i, f := range all {
				if *keep != "" {
					f.Name = name + "-" + f.Name
					if _, err := f.Write(*keep); err != nil {
						t.Fatal(err)
					}
				}
				const dpi = 48 // filling pixels is slow under the race detector
				var one, svg, values bytes.Buffer
				if err := writePNG(&one, f.width, f.height, dpi, f.paint); err != nil {
					t.Fatal(err)
				}
				img, err := png.Decode(bytes.NewReader(one.Bytes()))
				if err != nil {
					t.Fatal(err)
				}
				checkMargin(t, img, dpi)
				for _, err := range []error{f.WriteSVG(&svg), f.WriteCSV(&values)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				if name == "many" {
					sameAgain(t, f, again[i], dpi)
				}
				if !strings.Contains(svg.String(), "host: lab (emulated; virtual time)") || !strings.HasPrefix(f.Caption(), "host: lab (emulated; virtual time)") {
					t.Errorf("%s does not name its host", f.Name)
				}
				if err := wellFormed(&svg); err != nil {
					t.Errorf("%s: %v", f.Name, err)
				}
				rows, err := csv.NewReader(&values).ReadAll() // refuses ragged rows
				if err != nil || len(rows) < 2 || rows[1][0] != "lab" {
					t.Errorf("%s: %d rows of CSV, %v", f.Name, len(rows), err)
				}
				for _, never := range []string{"NaN", "Inf", "%!"} {
					if strings.Contains(f.Caption(), never) || strings.Contains(values.String(), never) {
						t.Errorf("%s: %s in caption or values", f.Name, never)
					}
				}
			}
		})
	}
	if _, err := All(nil); err == nil {
		t.Error("no trials make figures")
	}
}

// sameAgain draws two figures of one run: their bytes must be equal.
func sameAgain(t *testing.T, a, b *Figure, dpi int) {
	t.Helper()
	draw := func(f *Figure) (all [3]bytes.Buffer) {
		for _, err := range []error{writePNG(&all[0], f.width, f.height, dpi, f.paint), f.WriteSVG(&all[1]), f.WritePDF(&all[2])} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	one, two := draw(a), draw(b)
	for i, kind := range []string{"PNG", "SVG", "PDF"} {
		if one[i].Len() == 0 || !bytes.Equal(one[i].Bytes(), two[i].Bytes()) {
			t.Errorf("%s: two drawings as %s differ", a.Name, kind)
		}
	}
}

func TestAllGolden(t *testing.T) {
	trials := madeup.Trials(8)
	for i := range trials {
		if trials[i].Outcome == results.Detected && trials[i].Block%4 == 3 {
			trials[i].Class = "hard"
		}
	}
	all, err := All(trials)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d figures, %v", len(all), err)
	}
	work, err := All(madeup.Workloads(8))
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, find(t, work, "overhead"))
	for _, f := range all {
		var csv bytes.Buffer
		if err := f.WriteCSV(&csv); err != nil {
			t.Fatal(err)
		}
		golden(t, "all-"+f.Name+".csv", csv.Bytes())
		golden(t, "all-"+f.Name+".txt", []byte(f.Caption()))
	}
}

// TestAllLeavesOut: a figure without data is none.
func TestAllLeavesOut(t *testing.T) {
	names := func(trials []results.Trial) string {
		all, err := All(trials)
		if err != nil {
			t.Fatal(err)
		}
		var ns []string
		for _, f := range all {
			ns = append(ns, f.Name)
		}
		return strings.Join(ns, " ")
	}
	if got := names(cases()["controls"]); got != "violations" {
		t.Errorf("figures of controls: %q", got)
	}
	if got := names(cases()["invalid"]); got != "" {
		t.Errorf("figures of invalid trials: %q", got)
	}
}

// TestSurvivalCensored: a miss is a tick at the end of a curve that never comes
// down, not a detection.
func TestSurvivalCensored(t *testing.T) {
	all, err := All(cases()["blind"])
	if err != nil {
		t.Fatal(err)
	}
	f := find(t, all, "survival")
	if !strings.Contains(f.Caption(), "exec-step: 0 of 2 detected.") {
		t.Error(f.Caption())
	}
	for _, row := range f.rows[1:] {
		if row[2] != "3000" || row[4] != "0" || row[6] != "1" {
			t.Errorf("row %q", row)
		}
	}
}

// TestSurvivalWatchdogs: the guest's own watchdogs have curves where they were
// listened to, and a threshold only where they were not.
func TestSurvivalWatchdogs(t *testing.T) {
	all, err := All(madeup.Listened(8))
	if err != nil {
		t.Fatal(err)
	}
	f := find(t, all, "survival")
	var out bytes.Buffer
	if err := f.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lab,guest's soft-lockup,21500,24,3,0,0.875", "lab,guest's rcu-stall,23500,24,1,0,", "lab,guest's hung-task,24500,,0,1,1,,"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the values have no %q:\n%s", want, out.String())
		}
	}
	for _, want := range []string{"guest's soft-lockup: 24 of 24 detected, half of them by 24500.0 ms", "Not in these guests, or off: hard-lockup."} {
		if !strings.Contains(f.Caption(), want) {
			t.Errorf("the caption does not say %q:\n%s", want, f.Caption())
		}
	}
	if strings.Contains(f.Caption(), "not measured here") {
		t.Errorf("all watchdogs were measured: %s", f.Caption())
	}
}

// TestPDFDate: the file does not say when it was drawn.
func TestPDFDate(t *testing.T) {
	var out bytes.Buffer
	if err := writePDF(&out, vg.Inch, vg.Inch, func(draw.Canvas) {}); err != nil {
		t.Fatal(err)
	}
	dates := regexp.MustCompile(`\(D:[^)]*\)`).FindAllString(out.String(), -1)
	if len(dates) == 0 || slices.ContainsFunc(dates, func(d string) bool { return d != "(D:20000101000000)" }) {
		t.Errorf("dates %q", dates)
	}
}

func TestSeconds(t *testing.T) {
	var labels []string
	last := 0.0
	for _, tick := range (seconds{}).Ticks(250, 150e3) {
		if tick.Value <= last || tick.Value < 250 || tick.Value > 150e3 {
			t.Errorf("tick at %g after %g", tick.Value, last)
		}
		last = tick.Value
		if tick.Label != "" {
			labels = append(labels, tick.Label)
		}
	}
	if got := strings.Join(labels, ","); got != "300 ms,1 s,3 s,10 s,30 s,100 s" {
		t.Errorf("labels %s", got)
	}
}

// TestShade: the fill darkens with the share, so that it can be read without
// colour.
func TestShade(t *testing.T) {
	last := math.Inf(1)
	for share := 0.0; share <= 1; share += 0.05 {
		c := shade(share)
		light := 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
		if light >= last {
			t.Errorf("share %g is no darker", share)
		}
		last = light
	}
}

func TestFewer(t *testing.T) {
	for _, n := range []int{0, 1, 39, 40, 41, 80, 81, 1000} {
		points := make([]point, n)
		for i := range points {
			points[i].trial = i
		}
		shown := fewer(points)
		if len(shown) > dotsShown || n <= dotsShown && len(shown) != n || len(shown) < min(n, dotsShown/2) {
			t.Errorf("%d of %d shown", len(shown), n)
		}
		for i := 1; i < len(shown); i++ {
			if shown[i].trial-shown[i-1].trial != shown[1].trial-shown[0].trial {
				t.Errorf("%d points: not evenly taken", n)
			}
		}
	}
}

// twoSizes is a made-up run with one and two vCPUs, or guests, on which everything
// takes twice as long; one scenario was tried with one only.
func twoSizes(repetitions int, double func(*results.Trial)) []results.Trial {
	var all []results.Trial
	for _, tr := range madeup.Trials(repetitions) {
		all = append(all, tr)
		if tr.Scenario == "control-busy" {
			continue
		}
		double(&tr)
		tr.EPT.Permission, tr.EPT.MMIO, tr.EPT.Suppressed = 2*tr.EPT.Permission, 2*tr.EPT.MMIO, 2*tr.EPT.Suppressed
		tr.EPT.Lazy, tr.EPT.Residual, tr.EPT.Total = 2*tr.EPT.Lazy, 2*tr.EPT.Residual, 2*tr.EPT.Total
		if tr.DetectNS != nil {
			tr.DetectNS = new(2 * *tr.DetectNS)
		}
		all = append(all, tr)
	}
	for i := range all {
		all[i].Trial = i
		// A hundredth of a CPU for each vCPU of each guest.
		g := &all[i].Guest
		g.PairedNS, g.Dom0BeforeNS = 2e9, 1e8
		g.Dom0DuringNS = 2e7 * int64(all[i].VCPUs*(1+all[i].Neighbours))
	}
	return all
}

func TestScaling(t *testing.T) {
	t.Run("vCPUs", func(t *testing.T) { testScaling(t, "scaling", "", func(tr *results.Trial) { tr.VCPUs = 2 }) })
	t.Run("guests", func(t *testing.T) {
		testScaling(t, "scaling-guests", ", 1 vCPU", func(tr *results.Trial) { tr.Neighbours = 1 })
	})
}

func testScaling(t *testing.T, figure, rest string, double func(*results.Trial)) {
	for _, repetitions := range []int{2, 8} {
		all, err := All(twoSizes(repetitions, double))
		if err != nil {
			t.Fatal(err)
		}
		f := find(t, all, figure)
		medians := make(map[string]float64)
		for _, row := range f.rows[1:] {
			if medians[row[1]+" "+row[3]+" "+row[4]], err = strconv.ParseFloat(row[6], 64); err != nil {
				t.Fatal(err)
			}
			if (row[7] != "") != (repetitions == 8) {
				t.Errorf("%d repetitions: interval %q", repetitions, row[7])
			}
		}
		for _, what := range []string{"Detection time (median)", "EPT violations a second (median)", "CPU time of dom0, the trial's own included (median)"} {
			for _, arm := range []string{"exec-step", "exec-altp2m"} {
				arm += "/xenctrl, cloud-6.12, 160 MiB" + rest
				if one, two := medians[what+" "+arm+" 1"], medians[what+" "+arm+" 2"]; one <= 0 || math.Abs(two/one-2) > 1e-6 {
					t.Errorf("%s of %s: %g and %g", what, arm, one, two)
				}
			}
		}
		if strings.Contains(f.Caption(), "control-busy") {
			t.Error("a scenario that was tried with one size only is compared")
		}
		again, err := All(twoSizes(repetitions, double))
		if err != nil {
			t.Fatal(err)
		}
		sameAgain(t, f, find(t, again, figure), 72)
		var out bytes.Buffer
		if err := writePNG(&out, f.width, f.height, 72, f.paint); err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(&out)
		if err != nil {
			t.Fatal(err)
		}
		checkMargin(t, img, 72)
		if *keep != "" {
			f.Name = fmt.Sprintf("%s-%d", figure, repetitions)
			if _, err := f.Write(*keep); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, trials := range map[string][]results.Trial{"one size": madeup.Trials(3), "nothing in common": only(twoSizes(2, double), func(tr results.Trial) bool {
		return (tr.VCPUs*(1+tr.Neighbours) == 2) == (tr.Scenario == "control-idle")
	})} {
		all, err := All(trials)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(all, func(f *Figure) bool { return f.Name == figure }) {
			t.Errorf("%s: a figure of scaling", name)
		}
	}
}
