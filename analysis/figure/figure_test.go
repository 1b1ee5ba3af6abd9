package figure

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	keep   = flag.String("keep", "", "write the figures of the tests into this folder, to be looked at")
)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got\n%s\nwant\n%s", name, got, want)
	}
}

func only(trials []results.Trial, keep func(results.Trial) bool) []results.Trial {
	var out []results.Trial
	for _, t := range trials {
		if keep(t) {
			out = append(out, t)
		}
	}
	return out
}

// cases are made-up runs of the shapes a figure must survive.
func cases() map[string][]results.Trial {
	near := madeup.Trials(8) // misses within the scale
	for i := range near {
		if near[i].DeadlineNS > 0 {
			near[i].DeadlineNS = 250_000_000
		}
	}
	many := madeup.Trials(4)
	for i := range many {
		if many[i].Block >= 2 {
			many[i].Driver = "libvmi"
		}
	}
	blind := madeup.Trials(2) // nothing detected
	for i := range blind {
		if blind[i].Outcome == results.Detected {
			blind[i].Outcome, blind[i].DetectNS = results.Missed, nil
		}
	}
	return map[string][]results.Trial{
		"few":      madeup.Trials(2),
		"many":     madeup.Trials(8),
		"near":     near,
		"drivers":  many,
		"blind":    blind,
		"controls": only(madeup.Trials(3), func(t results.Trial) bool { return t.DeadlineNS == 0 }),
		"one":      madeup.Trials(1)[:1],
		"unwatched": only(madeup.Trials(1), func(t results.Trial) bool {
			return t.Mechanism == "none" && t.Scenario == "spinlock-deadlock"
		}),
		"invalid": only(madeup.Trials(3), func(t results.Trial) bool { return t.Outcome == results.Invalid }),
	}
}

func TestModelGolden(t *testing.T) {
	for _, name := range []string{"few", "many"} {
		o, err := NewOverview(cases()[name])
		if err != nil {
			t.Fatal(err)
		}
		var csv bytes.Buffer
		if err := o.WriteCSV(&csv); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".csv", csv.Bytes())
		golden(t, name+".txt", []byte(o.Caption()))
	}
}

// TestRender draws every case: the SVG must be well formed and labelled with
// the host, nothing may reach the PNG's edge, and drawing again must give the
// same bytes. Pixels are few, as filling them is slow under the race detector.
func TestRender(t *testing.T) {
	for name, trials := range cases() {
		t.Run(name, func(t *testing.T) {
			o, err := NewOverview(trials)
			if err != nil {
				t.Fatal(err)
			}
			const dpi = 72
			var pngs, svgs [2]bytes.Buffer
			for i := range 2 {
				if err := o.writePNG(&pngs[i], dpi); err != nil {
					t.Fatal(err)
				}
				if err := o.WriteSVG(&svgs[i]); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(pngs[0].Bytes(), pngs[1].Bytes()) || !bytes.Equal(svgs[0].Bytes(), svgs[1].Bytes()) {
				t.Error("two drawings of one model differ")
			}
			if *keep != "" {
				if _, err := o.Write(*keep, name); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(svgs[0].String(), "host: lab (emulated; virtual time)") {
				t.Error("the figure does not name its host")
			}
			if strings.Count(svgs[0].String(), "<text ") != strings.Count(svgs[0].String(), "textLength=") {
				t.Error("a text has no length: another font would overlap")
			}
			if err := wellFormed(&svgs[1]); err != nil {
				t.Error(err)
			}
			img, err := png.Decode(&pngs[1])
			if err != nil {
				t.Fatal(err)
			}
			if got, want := img.Bounds().Dx(), int(width.Dots(dpi)); got < want-1 || got > want+1 {
				t.Errorf("width is %d pixels, want %d", got, want)
			}
			checkMargin(t, img, dpi)
		})
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

// checkMargin fails when ink is within a point and a half of the edge: text or
// marks would be clipped there.
func checkMargin(t *testing.T, img image.Image, dpi float64) {
	t.Helper()
	b := img.Bounds()
	margin := int(vg.Length(1.5).Dots(dpi))
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if x >= b.Min.X+margin && x < b.Max.X-margin && y >= b.Min.Y+margin && y < b.Max.Y-margin {
				x = b.Max.X - margin // the inside
			}
			if r, g, bl, _ := img.At(x, y).RGBA(); r&g&bl != 0xffff {
				t.Errorf("ink at (%d, %d) of %v, at the edge", x, y, b.Max)
				return
			}
		}
	}
}

// The parts of a bar add up to its length, and misses never become numbers.
func TestModel(t *testing.T) {
	o, err := NewOverview(madeup.Trials(8))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range o.bars {
		var sum float64
		for _, p := range b.parts {
			sum += p.length
		}
		if d := sum - b.length; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s %s: parts add up to %g, bar is %g", b.cell.Scenario, b.cell.Label, sum, b.length)
		}
		if len(b.points) != b.cell.Counts.Valid {
			t.Errorf("%s %s: %d dots for %d valid trials", b.cell.Scenario, b.cell.Label, len(b.points), b.cell.Counts.Valid)
		}
	}
	if len(o.rows) != 2 {
		t.Fatalf("%d rows, want the two monitored arms of the one fault", len(o.rows))
	}
	for _, r := range o.rows {
		if len(r.seen) != r.cell.Counts.Detected || len(r.missed) != r.cell.Counts.Missed {
			t.Errorf("%s: %d seen, %d missed of %+v", r.cell.Label, len(r.seen), len(r.missed), r.cell.Counts)
		}
		for _, p := range r.seen {
			if p.value >= 3000 {
				t.Errorf("%s: a detection at %g ms", r.cell.Label, p.value)
			}
		}
	}
	if _, err := NewOverview(nil); err == nil {
		t.Error("no trials make a figure")
	}
}

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		limit float64
		want  string
	}{
		{1, "0 0.2 0.4 0.6 0.8 1"},
		{159, "0 50 100 150"},
		{2000, "0 500 1000 1500 2000"},
		{0.7, "0 0.2 0.4 0.6"},
	} {
		var got []string
		for _, tick := range (ticks{n: 5, limit: tc.limit}).Ticks(0, tc.limit) {
			got = append(got, tick.Label)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("ticks to %g: %q, want %q", tc.limit, got, tc.want)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	o, err := NewOverview(madeup.Trials(2))
	if err != nil {
		t.Fatal(err)
	}
	paths, err := o.Write(dir, "overview")
	if err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".png", ".svg", ".pdf", ".txt", ".csv"} {
		info, err := os.Stat(filepath.Join(dir, "overview"+ext))
		if err != nil || info.Size() == 0 {
			t.Errorf("overview%s: %v", ext, err)
		}
	}
	if len(paths) != 5 {
		t.Errorf("paths %q", paths)
	}
	f, err := os.Open(filepath.Join(dir, "overview.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if cfg, err := png.DecodeConfig(f); err != nil || cfg.Width != 2100 {
		t.Errorf("the PNG is %d pixels wide (%v), want 7 inches at 300 dpi", cfg.Width, err)
	}
}
