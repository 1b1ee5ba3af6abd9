package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/claims"
	"hangbench/analysis/exhibit"
	"hangbench/analysis/figure"
	"hangbench/bench/exit"
	"hangbench/monitor/detect"
	"hangbench/results"
)

// reference is the run that the claims are judged by.
var reference = filepath.Join("..", "..", "results", "reference", "paper")

// TestExperiments: the last column of the table of claims in EXPERIMENTS.md is what
// the reference run says, but for claims that no single run can show. With -update
// it is written anew.
func TestExperiments(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "EXPERIMENTS.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	run, err := results.ReadRun(reference, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	all, err := claims.Of(set)
	if err != nil || len(all) != 5 {
		t.Fatalf("the reference run speaks of %d claims, %v", len(all), err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for _, c := range all {
		found := false
		for i, line := range lines {
			cells := strings.Split(strings.TrimSpace(line), " | ")
			if !strings.HasPrefix(line, "| "+c.ID+" ") || len(cells) < 3 {
				continue
			}
			found = true
			last := strings.TrimSuffix(cells[len(cells)-1], " |")
			want := strings.Replace(c.Verdict(), "does not hold", "**does not hold**", 1)
			if last != want {
				if !*update {
					t.Errorf("EXPERIMENTS.md says of %s: %s\nreplace it by (go test -update does): %s", c.ID, last, want)
				}
				lines[i] = strings.Join(append(cells[:len(cells)-1], want), " | ") + " |\n"
			}
			if !strings.Contains(line, c.ID+" "+c.Says) {
				t.Errorf("EXPERIMENTS.md does not say %q of %s", c.Says, c.ID)
			}
		}
		if !found {
			t.Errorf("EXPERIMENTS.md has no row of %s", c.ID)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReferenceFigures: the figures beside the reference runs are what their records say.
// Values, captions and SVG files are those of figures drawn now. Pixels can differ from
// one version of the font rasterizer to the next.
func TestReferenceFigures(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "results", "reference")
	byRun := make(map[string][]string)
	for _, pattern := range []string{"*/*.csv", "*/*/*.csv"} {
		paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			within, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			run, name, _ := strings.Cut(filepath.ToSlash(within), "/")
			byRun[run] = append(byRun[run], strings.TrimSuffix(name, ".csv"))
		}
	}
	for _, run := range []string{"kernels", "overhead", "paper", "prices", "thresholds", "timeline", "xens"} {
		if len(byRun[run]) == 0 {
			t.Errorf("the reference run %s has no figure", run)
		}
	}
	for run, names := range byRun {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(root, run)
			drawn := redraw(t, dir)
			for _, name := range names {
				f := drawn[name]
				if f == nil {
					t.Errorf("%s of %s is not drawn of its records", name, dir)
					continue
				}
				for ext, write := range map[string]func(io.Writer) error{
					".csv": f.WriteCSV, ".svg": f.WriteSVG,
					".txt": func(w io.Writer) error { _, err := io.WriteString(w, f.Caption()); return err },
				} {
					file := filepath.Join(dir, filepath.FromSlash(name)) + ext
					was, err := os.ReadFile(file)
					var is bytes.Buffer
					if err := errors.Join(err, write(&is)); err != nil || is.String() != string(was) {
						t.Errorf("%s is not what its records say (%v): make figures draws it anew", file, err)
					}
				}
			}
		})
	}
}

// redraw draws the figures of a reference run. It returns them by their paths in the run's
// folder. It makes no PNG: to write those takes longer than all the rest.
func redraw(t *testing.T, dir string) map[string]*figure.Figure {
	t.Helper()
	drawn := make(map[string]*figure.Figure)
	if f, err := os.Open(filepath.Join(dir, streamFile)); err == nil {
		defer f.Close()
		header, stream, err := detect.ReadStream(f)
		if err != nil {
			t.Fatal(err)
		}
		line, err := timeline(&header, stream)
		if err != nil {
			t.Fatal(err)
		}
		if drawn["timeline"], err = line.Figure(); err != nil {
			t.Fatal(err)
		}
		return drawn
	}
	prices, err := filepath.Glob(filepath.Join(dir, "[0-9]*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(prices) > 0 {
		reports, err := readPrices(prices)
		if err != nil {
			t.Fatal(err)
		}
		drawn["prices"] = pricesFigure(reports).Figure()
		return drawn
	}
	if status, _, stderr := hangbench(t, "report", dir, "--tables", "all"); status != exit.Done || stderr != "" {
		t.Fatalf("report %s: status %d, %s", dir, status, stderr)
	}
	run, err := results.ReadRun(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := analysis.Group(run)
	if err != nil {
		t.Fatal(err)
	}
	figures, err := exhibit.Draw(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		drawn[filepath.ToSlash(figurePath(f.Name))] = f
	}
	return drawn
}
