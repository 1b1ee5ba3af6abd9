package figure

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/results"
)

// Figure is one figure with its caption and the values drawn in it.
type Figure struct {
	Name  string // of its files
	Title string // what it shows, in a few words

	caption       string
	rows          [][]string // of CSV, the head first
	width, height vg.Length
	paint         func(draw.Canvas)
}

// All returns the figures that the trials have data for, in the order in which
// a report shows them. It fails on an empty list and on trials of several hosts.
func All(trials []results.Trial) ([]*Figure, error) {
	set, err := analysis.Group(trials)
	if err != nil {
		return nil, fmt.Errorf("figure: %w", err)
	}
	var figures []*Figure
	makers := []func(*analysis.Set) (*Figure, error){survival, coverage, violations, overhead}
	if len(set.Swept()) > 0 {
		// What was detected when, with a curve or a column for each setting, would be
		// the same once more and not readable.
		makers = []func(*analysis.Set) (*Figure, error){sweep, violations, overhead}
	}
	for _, x := range scaleAxes() {
		makers = append(makers, func(set *analysis.Set) (*Figure, error) { return scaling(set, x) })
	}
	for _, make := range makers {
		f, err := make(set)
		if err != nil {
			return nil, err
		}
		if f != nil {
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// Caption says what the figure shows, for a text file beside it.
func (f *Figure) Caption() string { return f.caption }

// WriteCSV writes every value drawn.
func (f *Figure) WriteCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	if err := cw.WriteAll(f.rows); err != nil {
		return fmt.Errorf("figure: write csv: %w", err)
	}
	return nil
}

// WritePNG draws the figure at 300 dots an inch.
func (f *Figure) WritePNG(w io.Writer) error {
	return writePNG(w, f.width, f.height, dpi, f.paint)
}

// WriteSVG draws the figure as SVG, as Overview.WriteSVG does.
func (f *Figure) WriteSVG(w io.Writer) error { return writeSVG(w, f.width, f.height, f.paint) }

// WritePDF draws the figure as PDF, as Overview.WritePDF does.
func (f *Figure) WritePDF(w io.Writer) error { return writePDF(w, f.width, f.height, f.paint) }

// Write writes the figure into dir as Overview.Write does, by its name.
func (f *Figure) Write(dir string) ([]string, error) { return write(f, dir, f.Name) }

// drawing is a figure with its caption and values.
type drawing interface {
	WritePNG(w io.Writer) error
	WriteSVG(w io.Writer) error
	WritePDF(w io.Writer) error
	WriteCSV(w io.Writer) error
	Caption() string
}

func write(o drawing, dir, name string) ([]string, error) {
	var paths []string
	for _, f := range []struct {
		ext   string
		write func(io.Writer) error
	}{
		{".png", o.WritePNG},
		{".svg", o.WriteSVG},
		{".pdf", o.WritePDF},
		{".txt", func(w io.Writer) error { _, err := io.WriteString(w, o.Caption()); return err }},
		{".csv", o.WriteCSV},
	} {
		var buf bytes.Buffer
		if err := f.write(&buf); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, name+f.ext)
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("figure: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// sheet is the canvas inside the figure's margin, with its caption on top.
func sheet(c draw.Canvas, caption string) draw.Canvas {
	c = draw.Crop(c, 4, -6, 3, -3)
	sty := textStyle(titleSize, black, text.XLeft, text.YTop)
	for sty.Width(caption) > c.Max.X-c.Min.X && sty.Font.Size > 5 {
		sty.Font.Size -= 0.25
	}
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Max.Y}, caption)
	return c
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
