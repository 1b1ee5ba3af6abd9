package figure

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis"
	"hangbench/analysis/golden"
)

var keep = flag.String("keep", "", "write the figures of the tests into this folder, to be looked at")

// goldens lists the figures that are compared with golden files: for each shape the names
// of figures. Look at the drawings (-keep) before you rewrite their goldens (-update).
func goldens() map[string]string {
	return map[string]string{
		"few":      "overview survival violations",
		"wrong":    "overview survival coverage violations",
		"near":     "overview",
		"blind":    "overview survival",
		"controls": "overview",
		"invalid":  "overview",
		"hollow":   "coverage",
		"drivers":  "survival",
		"three":    "survival", "slow": "survival", "instant": "survival", "others": "survival",
		"alone": "violations", "unwatched": "violations",
		"mechanisms":       "scaling",
		"sweep-early":      "sweep",
		"faults":           "overview survival coverage",
		"classes":          "overview",
		"long":             "overview violations",
		"long-names":       "overview survival coverage violations",
		"sweep-crowded":    "sweep",
		"sweep-long-names": "sweep",
		"listened":         "survival",
		"sweep":            "sweep",
		"work":             "overhead",
		"work-few":         "overhead",
		"vcpus":            "scaling",
		"vcpus-few":        "scaling",
		"vcpus-one":        "scaling",
		"guests":           "scaling-guests",
		"guests-few":       "scaling-guests",
	}
}

// sameAsGolden compares caption, values and all marks of a figure with golden files.
func sameAsGolden(t *testing.T, name string, f *Figure) {
	t.Helper()
	var values, drawn bytes.Buffer
	if err := f.WriteCSV(&values); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&drawn, "page %s x %s\n", coordinate(width), coordinate(f.height))
	for _, m := range record(t, f).marks {
		fmt.Fprintln(&drawn, m)
	}
	golden.Compare(t, name+".txt", []byte(f.Title+"\n"+f.Caption()))
	golden.Compare(t, name+".csv", values.Bytes())
	golden.Compare(t, name+".marks", drawn.Bytes())
}

func TestGolden(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	for name, figures := range goldens() {
		for figure := range strings.FieldsSeq(figures) {
			used[figure] = true
			t.Run(figure+"-"+name, func(t *testing.T) {
				t.Parallel()
				sameAsGolden(t, figure+"-"+name, theShape(t, name).figure(t, figure))
			})
		}
	}
	for _, k := range Kinds() {
		if !used[k.Name] {
			t.Errorf("the figure %s has no golden file", k.Name)
		}
	}
}

// TestGoldenFiles: every golden file belongs to a test.
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for name, figures := range goldens() {
		for figure := range strings.FieldsSeq(figures) {
			known[figure+"-"+name] = true
		}
	}
	for name := range timelines() {
		known["timeline-"+name] = true
	}
	for name := range breakdowns() {
		known["breakdown-"+name] = true
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if base := strings.TrimSuffix(f.Name(), filepath.Ext(f.Name())); !known[base] {
			t.Errorf("no test uses testdata/%s", f.Name())
		}
	}
}

// allFigures are the figures of all shapes, time lines and breakdowns, by name.
func allFigures(t *testing.T) map[string]*Figure {
	t.Helper()
	runs, err := shapes()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*Figure)
	for name, s := range runs {
		for _, f := range s.figures {
			all[f.Name+"-"+name] = f
		}
	}
	for name, line := range timelines() {
		f, err := line.Figure()
		if err != nil {
			t.Fatal(err)
		}
		all["timeline-"+name] = f
	}
	for name, b := range breakdowns() {
		all["breakdown-"+name] = b.Figure()
	}
	return all
}

// TestPages: what every drawing has in common.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, f := range allFigures(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *keep != "" {
				kept := *f
				kept.Name = name
				if _, err := kept.Write(*keep); err != nil {
					t.Fatal(err)
				}
			}
			r := record(t, f)
			head := r.texts(func(string) bool { return true })[0]
			if !strings.HasPrefix(head.text, "host: ") || !strings.HasPrefix(f.Caption(), head.text) {
				t.Errorf("the drawing begins with %q, the caption with %q", head.text, f.Caption())
			}
			if f.Title == "" {
				t.Error("the figure has no title")
			}
			onPage(t, r)
			noOverlap(t, r)
			var values bytes.Buffer
			if err := f.WriteCSV(&values); err != nil {
				t.Fatal(err)
			}
			if _, err := csv.NewReader(&values).ReadAll(); err != nil { // it refuses ragged rows
				t.Error(err)
			}
			for _, never := range []string{"NaN", "Inf", "%!"} {
				if strings.Contains(f.Caption(), never) || strings.Contains(fmt.Sprint(f.values), never) {
					t.Errorf("%s in caption or values", never)
				}
				for _, m := range r.marks {
					if strings.Contains(m.String(), never) {
						t.Errorf("drawn is %s", m)
					}
				}
			}
		})
	}
}

// onPage fails when a mark is within a point and a half of the edge: it would look cut
// off.
func onPage(t *testing.T, r *recorder) {
	t.Helper()
	const margin = 1.5
	for _, m := range r.marks {
		b := m.bounds()
		if b.Min.X < margin || b.Min.Y < margin || b.Max.X > r.w-margin || b.Max.Y > r.h-margin {
			t.Errorf("at the edge of the page of %.1f x %.1f: %s", r.w, r.h, m)
		}
	}
}

// noOverlap fails when two texts lie on each other.
func noOverlap(t *testing.T, r *recorder) {
	t.Helper()
	all := r.texts(func(string) bool { return true })
	for i, a := range all {
		for _, b := range all[i+1:] {
			if overlap(a.pts, b.pts) {
				t.Errorf("%s\nlies on\n%s", a, b)
			}
		}
	}
}

// overlap reports whether two convex polygons have more in common than a strip of a
// quarter of a point: no side of either has all of the other on its outside.
func overlap(a, b []vg.Point) bool {
	const least = 0.25
	for _, polygon := range [][]vg.Point{a, b} {
		for i, p := range polygon {
			q := polygon[(i+1)%len(polygon)]
			normal := vg.Point{X: q.Y - p.Y, Y: p.X - q.X}
			if length := normal.Dot(normal); length == 0 {
				continue
			}
			span := func(pts []vg.Point) (lo, hi vg.Length) {
				lo = normal.Dot(pts[0])
				hi = lo
				for _, pt := range pts {
					lo, hi = min(lo, normal.Dot(pt)), max(hi, normal.Dot(pt))
				}
				return lo, hi
			}
			aLo, aHi := span(a)
			bLo, bHi := span(b)
			gap := max(bLo-aHi, aLo-bHi)
			if gap > -least*vg.Length(math.Sqrt(float64(normal.Dot(normal)))) {
				return false
			}
		}
	}
	return true
}

// TestKinds: each figure says what it is, and there is one only where its data are.
func TestKinds(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"many": "overview survival coverage violations", "controls": "overview violations", "invalid": "overview",
		"unwatched": "overview violations", "blind": "overview survival coverage violations",
		"sweep":  "overview sweep violations",
		"work":   "overview violations overhead",
		"vcpus":  "overview survival coverage violations scaling",
		"guests": "overview survival coverage violations scaling-guests",
		"apart":  "overview survival coverage violations",
	}
	for name, names := range want {
		var got []string
		for _, f := range theShape(t, name).figures {
			got = append(got, f.Name)
		}
		if strings.Join(got, " ") != names {
			t.Errorf("%s has the figures %q, want %q", name, got, names)
		}
	}
	var seen []string
	for _, k := range Kinds() {
		if k.Name == "" || k.Meaning == "" || k.Needs == "" || slices.Contains(seen, k.Name) {
			t.Errorf("%+v is not told from the others", k)
		}
		seen = append(seen, k.Name)
	}
}

// TestFails: an error names the figure.
func TestFails(t *testing.T) {
	t.Parallel()
	k := Kind{Name: "broken", make: func(*analysis.Set) (*Figure, error) { return nil, errors.New("no ink") }}
	if _, err := k.Make(theShape(t, "one").set); err == nil || err.Error() != "figure broken: no ink" {
		t.Errorf("the error is %v", err)
	}
}

// TestCut: what does not fit is cut and says so; what fits is not.
func TestCut(t *testing.T) {
	t.Parallel()
	sty := textStyle(textSize, black, 0, 0)
	long := strings.Repeat("längliches ", 40)
	runes := []rune(long)
	for n := range 60 {
		want := string(runes[:n]) + "..."
		exact := sty.Width(want)
		for _, limit := range []vg.Length{exact, exact + 0.1} {
			if got := cut(sty, long, limit); got != want {
				t.Errorf("to %g points: %q, want %q", limit, got, want)
			}
		}
	}
	if got := cut(sty, long, sty.Width(long)); got != long {
		t.Errorf("%q is cut to %q", long, got)
	}
}

// TestLongHead: a head of any length stays on the page, and only as much smaller as it
// must be.
func TestLongHead(t *testing.T) {
	t.Parallel()
	f := *theShape(t, "one").figure(t, "overview")
	sizes := make(map[vg.Length]bool)
	for _, words := range []int{1, 9, 10, 13, 16, 17, 3000} {
		f.head = "host: lab" + strings.Repeat(" superpages", words)
		r := record(t, &f)
		onPage(t, r)
		head := r.texts(func(string) bool { return true })[0]
		sizes[head.size] = true
		fits := func(size vg.Length) bool {
			return textStyle(size, black, 0, 0).Width(f.head) <= width-10 // without the margins
		}
		if head.size < titleSize && fits(head.size+0.25) || head.size < 5 || head.size > titleSize {
			t.Errorf("%d words: size %g, though a greater one fits", words, head.size)
		}
		if (head.text == f.head) != fits(head.size) || !fits(head.size) && head.size != 5 {
			t.Errorf("%d words: size %g, %q", words, head.size, head.text)
		}
	}
	if !sizes[titleSize] || !sizes[8.25] || !sizes[5] || len(sizes) < 5 {
		t.Errorf("sizes %v", sizes)
	}
}

func wellFormed(r io.Reader) error {
	d := xml.NewDecoder(r)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
