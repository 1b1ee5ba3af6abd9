package figure

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"hangbench/analysis"
	"hangbench/analysis/internal/csvfile"
	"hangbench/results"
)

// Figure is a drawing with its caption and the values drawn in it.
type Figure struct {
	Name  string // base name of its files
	Title string // what it shows, in a few words

	// head is the line above the drawing and the first of the caption: the host and
	// what was run.
	head   string
	says   string     // the rest of the caption
	values [][]string // rows of the CSV file, the names of the columns first
	height vg.Length  // of the page; its width is the constant width
	// paint draws below head. It gets the page without its margin.
	paint func(draw.Canvas)
}

// Kind is a figure that can be drawn of the trials of a run.
type Kind struct {
	Name    string // base name of its files
	Meaning string // what it shows, in a few words
	Needs   string // the data without which there is no such figure

	make func(*analysis.Set) (*Figure, error) // nil without that data
}

// Make returns the figure, or nil when the set lacks the data that it needs.
func (k Kind) Make(set *analysis.Set) (*Figure, error) {
	f, err := k.make(set)
	if err != nil {
		return nil, fmt.Errorf("figure %s: %w", k.Name, err)
	}
	if f != nil {
		f.Name, f.Title, f.head = k.Name, k.Meaning, set.Caption()
		f.values = set.MarkCSV(f.values)
	}
	return f, nil
}

// Kinds returns all figures of a run in the order in which a report shows them.
func Kinds() []Kind {
	return []Kind{
		{"overview", "EPT violations and detection times", "a trial", overview},
		{"sweep", "Detection time against false alarms, by threshold",
			"a threshold with several values, each with a fault and with trials in which no alarm is right", sweep},
		{"survival", "Hangs not yet detected, over time", "a fault with a monitor; no threshold with several values",
			survival},
		{"coverage", "Faults detected and called rightly, by fault and mechanism",
			"a fault with a monitor; no threshold with several values", coverage},
		{"violations", "EPT violations a second, by class", "a valid trial with a monitor or with EPT violations",
			violations},
		{"overhead", "What the monitor costs a guest", "a workload in windows with and without a monitor", overhead},
		{"scaling", "What changes with the number of vCPUs", "a scenario that was tried with several numbers of vCPUs",
			overVCPUs().figure},
		{"scaling-guests", "What changes with the number of guests that are monitored at once",
			"a scenario that was tried with several numbers of guests", overGuests().figure},
	}
}

// Caption is the text beside the figure: where the numbers come from and how to
// read the drawing.
func (f *Figure) Caption() string { return f.head + ".\n\n" + f.says }

// WriteCSV writes every value drawn.
func (f *Figure) WriteCSV(w io.Writer) error {
	if err := csvfile.Write(w, f.values); err != nil {
		return fmt.Errorf("figure %s: %w", f.Name, err)
	}
	return nil
}

// Write writes the figure into dir as PNG, SVG and PDF, its caption as .txt and
// its values as .csv. The base name of the files is f.Name. It returns their paths. If a
// write fails, the file of an earlier call stays as it was.
func (f *Figure) Write(dir string) ([]string, error) {
	var paths []string
	for _, file := range []struct {
		ext   string
		write func(io.Writer) error
	}{
		{".png", f.WritePNG},
		{".svg", f.WriteSVG},
		{".pdf", f.WritePDF},
		{".txt", func(w io.Writer) error { _, err := io.WriteString(w, f.Caption()); return err }},
		{".csv", f.WriteCSV},
	} {
		var buf bytes.Buffer
		if err := file.write(&buf); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, f.Name+file.ext)
		if err := results.ReplaceFile(path, buf.Bytes()); err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.Name, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
