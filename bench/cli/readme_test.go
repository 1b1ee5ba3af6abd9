package cli

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"hangbench/bench/exit"
	"hangbench/results"
)

// documents returns the paths of README.md, EXPERIMENTS.md and every page below results,
// relative to root and with slashes. Runs of the user's own, in results/runs, are left out.
func documents(t *testing.T, root string) []string {
	t.Helper()
	names := []string{"README.md", "EXPERIMENTS.md"}
	err := fs.WalkDir(os.DirFS(root), "results", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "results/runs":
			return fs.SkipDir
		case path.Ext(name) == ".md":
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// brokenAt breaks lines that are longer than width between two words. Lines of tables stay.
func brokenAt(width int, lines []string) []string {
	var out []string
	for _, line := range lines {
		for !strings.HasPrefix(line, "|") && utf8.RuneCountInString(line) > width {
			at := strings.LastIndex(string([]rune(line)[:width+1]), " ")
			if at < 0 {
				break
			}
			out = append(out, line[:at])
			line = line[at+1:]
		}
		out = append(out, line)
	}
	return out
}

// TestReadme: the tables that the documents show are those of the records they say
// they are from. Such a table stands between two marks, of which the first has
// the command line that prints it:
//
//	<!-- report RUN --tables LIST: begin -->
//	<!-- bench prices FILE...: begin -->
//	<!-- report: end -->
//
// Lines below a table may be broken to fit 120 columns. With -update the tables are
// written anew. Every committed run with trials has at least one table in the documents.
func TestReadme(t *testing.T) {
	const begin, end = ": begin -->\n", "\n<!-- report: end -->"
	open := regexp.MustCompile(`<!-- (report|bench prices) `)
	root := filepath.Join("..", "..")
	shownRuns := make(map[string]bool)
	for _, name := range documents(t, root) {
		path := filepath.Join(root, filepath.FromSlash(name))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var now strings.Builder
		rest := string(text)
		for mark := open.FindStringSubmatchIndex(rest); mark != nil; mark = open.FindStringSubmatchIndex(rest) {
			before, command := rest[:mark[1]], rest[mark[2]:mark[3]]
			line, after, ok := strings.Cut(rest[mark[1]:], begin)
			shown, after, closed := strings.Cut(after, end)
			args := strings.Fields(line)
			if !ok || !closed || len(args) == 0 || strings.Contains(line, "\n") {
				t.Fatalf("%s: the table that begins with %q has no end", name, line[:min(len(line), 60)])
			}
			rest = after
			shownRuns[args[0]] = true
			for i := 0; i < len(args); i++ {
				if !strings.HasPrefix(args[i], "results/") {
					continue
				}
				files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(args[i]))) // in the order of their names
				if err != nil || len(files) == 0 {
					t.Fatalf("%s: %s is not there (%v)", name, args[i], err)
				}
				args = slices.Replace(args, i, i+1, files...)
				i += len(files) - 1
			}
			status, stdout, stderr := hangbench(t, slices.Concat(strings.Fields(command), []string{"--format", "md"}, args)...)
			if status != exit.Done || stderr != "" {
				t.Fatalf("%s: %s %s: status %d, %s", name, command, line, status, stderr)
			}
			var want []string
			for line := range strings.Lines(strings.TrimSpace(stdout)) {
				want = append(want, strings.TrimRight(line, " \n"))
			}
			got := strings.Join(brokenAt(120, want), "\n")
			if unbroken := strings.Join(want, "\n"); shown != got && shown != unbroken && !*update {
				t.Errorf("%s shows other numbers than %s (go test -update rewrites it); replace them by:\n%s", name, line, got)
			}
			now.WriteString(before + line + begin + got + end)
		}
		now.WriteString(rest)
		if *update {
			if err := os.WriteFile(path, []byte(now.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs, err := filepath.Glob(filepath.Join(root, "results", "reference", "*", results.TrialsFile))
	if err != nil || len(runs) == 0 {
		t.Fatalf("%d committed runs, %v", len(runs), err)
	}
	for _, run := range runs {
		name := "results/reference/" + filepath.Base(filepath.Dir(run))
		if !shownRuns[name] {
			t.Errorf("no document shows a table of %s", name)
		}
	}
}

// TestReadmePages: the index of the results fits a screen and has every page, each page
// has at most 150 lines, and the page begins with what it shows, its command and its records.
func TestReadmePages(t *testing.T) {
	t.Parallel()
	const mostOfIndex, mostOfPage = 60, 150
	begins := regexp.MustCompile(`(?s)^# [^\n]+\n\n\* Shows: .+?\n\* Command: .+?\n\* Records: (.+?)\n\n`)
	const notKept = "Records are not kept; the numbers cannot be checked"
	dir := filepath.Join("..", "..", "results")
	index, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(index), "\n"); n > mostOfIndex {
		t.Errorf("results/README.md has %d lines, more than %d", n, mostOfIndex)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "reports", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if n := strings.Count(text, "\n"); n > mostOfPage {
			t.Errorf("%s has %d lines, more than %d", name, n, mostOfPage)
		}
		if !strings.Contains(string(index), "(reports/"+name+")") {
			t.Errorf("results/README.md has no link to %s", name)
		}
		head := begins.FindStringSubmatch(text)
		if head == nil {
			t.Errorf("%s does not begin with a title and the points Shows, Command and Records", name)
			continue
		}
		records := strings.Join(strings.Fields(head[1]), " ")
		if !strings.Contains(records, "](../reference/") && !strings.Contains(records, notKept) {
			t.Errorf("%s names no committed records and does not say %q", name, notKept)
		}
	}
}

// TestReadmeLinks: what the documents link to in this repository is there, headings too.
func TestReadmeLinks(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	checked := 0
	for _, name := range documents(t, root) {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, heading, _ := strings.Cut(m[1], "#")
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			checked++
			at := filepath.Join(root, filepath.FromSlash(to))
			if _, err := os.Stat(at); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if heading == "" {
				continue
			}
			linked, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(anchors(string(linked)), heading) {
				t.Errorf("%s links to %s, and %s has no such heading", name, m[1], to)
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d links were checked", checked)
	}
}

// anchors returns the anchors that GitHub makes of a document's headings: lower case, spaces
// as dashes, and of other characters only letters, digits, dashes and underscores.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return all
}
