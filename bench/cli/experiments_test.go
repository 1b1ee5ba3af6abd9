package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/claims"
	"hangbench/bench/exit"
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
	run, err := results.ReadRun(reference)
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
			run, figure, _ := strings.Cut(filepath.ToSlash(within), "/")
			byRun[run] = append(byRun[run], strings.TrimSuffix(figure, ".csv"))
		}
	}
	for _, run := range []string{"overhead", "paper", "thresholds", "timeline"} {
		if len(byRun[run]) == 0 {
			t.Errorf("the reference run %s has no figure", run)
		}
	}
	for run, figures := range byRun {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			dir, drawn := filepath.Join(root, run), t.TempDir()
			redraw(t, dir, drawn)
			for _, figure := range figures {
				for _, ext := range []string{".csv", ".txt", ".svg"} {
					name := filepath.FromSlash(figure) + ext
					was, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil {
						t.Error(err)
						continue
					}
					is, err := os.ReadFile(filepath.Join(drawn, name))
					if err != nil || string(is) != string(was) {
						t.Errorf("%s of %s is not what its records say (%v): make figures draws it anew", name, dir, err)
					}
				}
			}
		})
	}
}

// redraw draws the figures of a reference run into a folder.
func redraw(t *testing.T, from, to string) {
	t.Helper()
	args := []string{"report", to}
	if _, err := os.Stat(filepath.Join(from, streamFile)); err == nil {
		args = []string{"timeline", filepath.Join(from, streamFile), "--out", to}
	} else {
		for _, name := range []string{results.ManifestFile, results.TrialsFile} {
			data, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, _, stderr := hangbench(t, args...); status != exit.Done || stderr != "" {
		t.Fatalf("%v: status %d, %s", args, status, stderr)
	}
}
