package figure

import (
	"bytes"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
)

// TestSameAgain: two figures of one run are the same bytes in every format, and each
// format has all texts.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	s := theShape(t, "few")
	set, err := analysis.Group(madeup.Run(s.trials))
	if err != nil {
		t.Fatal(err)
	}
	again, err := drawAll(set)
	if err != nil || len(again) != len(s.figures) {
		t.Fatalf("%d figures, then %d: %v", len(s.figures), len(again), err)
	}
	files := func(f *Figure) (all [3]bytes.Buffer) {
		for _, err := range []error{f.writePNG(&all[0], 48), f.WriteSVG(&all[1]), f.WritePDF(&all[2])} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	for i, f := range s.figures {
		one, two := files(f), files(again[i])
		for j, kind := range []string{"PNG", "SVG", "PDF"} {
			if one[j].Len() == 0 || !bytes.Equal(one[j].Bytes(), two[j].Bytes()) {
				t.Errorf("%s: two drawings as %s differ", f.Name, kind)
			}
		}
		svg := one[1].String()
		if err := wellFormed(&one[1]); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		texts := record(t, f).texts(func(string) bool { return true })
		if n := strings.Count(svg, ` textLength="`); n != len(texts) || strings.Count(svg, "<text ") != n {
			t.Errorf("%s: %d texts have a length, want %d", f.Name, n, len(texts))
		}
		for _, m := range texts {
			want := `<text textLength="` + length(m) + `" lengthAdjust="spacingAndGlyphs" `
			if !strings.Contains(svg, want) {
				t.Errorf("%s: no text of the length of %q: %s", f.Name, m.text, want)
			}
		}
		if strings.Contains(svg, "font-family:Liberation Sans;") ||
			!strings.Contains(svg, "Sans,Arial,Helvetica,sans-serif;") {
			t.Errorf("%s: the SVG names no font that readers have", f.Name)
		}
	}
}

// TestPNG: a page has 300 dots an inch; a very long one has fewer, but at least 72. The
// file has the pixels of the image.
func TestPNG(t *testing.T) {
	t.Parallel()
	blank := func(draw.Canvas) {}
	for _, tc := range []struct {
		height vg.Length
		x, y   int
	}{{vg.Inch, 2100, 300}, {13 * vg.Inch, 2100, 3900}, {14 * vg.Inch, 1995, 3990}, {50 * vg.Inch, 560, 4000},
		{60 * vg.Inch, 504, 4320}} {
		f := &Figure{height: tc.height, paint: blank}
		if got := f.image(dpi).Bounds(); got.Dx() != tc.x || got.Dy() != tc.y {
			t.Errorf("%g inches high: %v pixels, want %d x %d", tc.height/vg.Inch, got, tc.x, tc.y)
		}
	}
	var out bytes.Buffer
	if err := (&Figure{height: vg.Inch, paint: blank}).WritePNG(&out); err != nil {
		t.Fatal(err)
	}
	if got, err := png.DecodeConfig(&out); err != nil || got.Width != 2100 || got.Height != 300 {
		t.Errorf("the file has %d x %d pixels (%v), want 2100 x 300", got.Width, got.Height, err)
	}
}

// TestPixels: a PNG shows the marks.
func TestPixels(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := &Figure{height: vg.Inch, paint: func(c draw.Canvas) { rectangle(&c, blue, 100, 10, 200, 30) }}
	if err := f.writePNG(&out, 72); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	// Pixels count from the top, points from the bottom.
	if in, beside := toNRGBA(img.At(150, 72-20)), toNRGBA(img.At(150, 20)); in != blue || beside != white {
		t.Errorf("inside the rectangle is %v, beside it %v", in, beside)
	}
}

// TestPDFDate: the file does not say when it was drawn.
func TestPDFDate(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := &Figure{height: vg.Inch, paint: func(draw.Canvas) {}}
	if err := f.WritePDF(&out); err != nil {
		t.Fatal(err)
	}
	dates := regexp.MustCompile(`\(D:[^)]*\)`).FindAllString(out.String(), -1)
	if len(dates) == 0 || slices.ContainsFunc(dates, func(d string) bool { return d != "(D:20000101000000)" }) {
		t.Errorf("dates %q", dates)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := theShape(t, "few").figure(t, "survival")
	paths, err := f.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	starts := map[string]string{".png": "\x89PNG", ".svg": "<?xml", ".pdf": "%PDF", ".txt": "host: lab",
		".csv": "host,arm"}
	var want []string
	for _, ext := range []string{".png", ".svg", ".pdf", ".txt", ".csv"} {
		path := filepath.Join(dir, "survival"+ext)
		want = append(want, path)
		data, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(data), starts[ext]) {
			t.Errorf("survival%s begins with %.10q, %v", ext, data, err)
		}
	}
	if !slices.Equal(paths, want) {
		t.Errorf("paths %q", paths)
	}
	if data, _ := os.ReadFile(want[3]); string(data) != f.Caption() {
		t.Errorf("the text is %q", data)
	}
	if _, err := f.Write(filepath.Join(dir, "nowhere")); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error of a folder that is not there is %v", err)
	}
}

// brokenPipe fails every write.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestWriteFails: an error of the writer reaches the caller and names the figure.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	f := theShape(t, "one").figure(t, "overview")
	for kind, write := range map[string]func(io.Writer) error{
		"png": func(w io.Writer) error { return f.writePNG(w, 48) }, "svg": f.WriteSVG, "pdf": f.WritePDF, "csv": f.WriteCSV,
	} {
		err := write(brokenPipe{})
		if !errors.Is(err, io.ErrClosedPipe) || !strings.HasPrefix(err.Error(), "figure overview: write "+kind) {
			t.Errorf("%s: the error is %v", kind, err)
		}
	}
}

// length is the length of a text as an SVG has it.
func length(m mark) string {
	d := m.pts[1].Sub(m.pts[0])
	return strconv.FormatFloat(math.Hypot(float64(d.X), float64(d.Y)), 'f', 2, 64)
}

// drawAll returns the figures that the set has the data for.
func drawAll(set *analysis.Set) ([]*Figure, error) {
	var figures []*Figure
	for _, k := range Kinds() {
		f, err := k.Make(set)
		if err != nil {
			return nil, err
		}
		if f != nil {
			figures = append(figures, f)
		}
	}
	return figures, nil
}
