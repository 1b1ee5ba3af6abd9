package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/bench/exit"
)

// TestReadme: the tables that the documents show are those of the runs they say
// they are from. Such a table stands between two marks, of which the first has
// the command line that prints it:
//
//	<!-- report RUN --tables LIST: begin -->
//	<!-- report: end -->
//
// With -update the tables are written anew.
func TestReadme(t *testing.T) {
	const open, begin, end = "<!-- report ", ": begin -->\n", "\n<!-- report: end -->"
	root := filepath.Join("..", "..")
	for _, name := range []string{"README.md", filepath.Join("results", "README.md")} {
		path := filepath.Join(root, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var now strings.Builder
		before, rest, more := strings.Cut(string(text), open)
		if !more {
			t.Errorf("%s does not mark where its tables are from", name)
		}
		for ; more; before, rest, more = strings.Cut(rest, open) {
			line, after, ok := strings.Cut(rest, begin)
			shown, after, closed := strings.Cut(after, end)
			args := strings.Fields(line)
			if !ok || !closed || len(args) == 0 || strings.Contains(line, "\n") {
				t.Fatalf("%s: the table that begins with %q has no end", name, line[:min(len(line), 60)])
			}
			rest = after
			args[0] = filepath.Join(root, filepath.FromSlash(args[0]))
			status, stdout, stderr := hangbench(t, append([]string{"report", "--format", "md"}, args...)...)
			if status != exit.Done || stderr != "" {
				t.Fatalf("%s: report %s: status %d, %s", name, line, status, stderr)
			}
			var want []string
			for line := range strings.Lines(strings.TrimSpace(stdout)) {
				want = append(want, strings.TrimRight(line, " \n"))
			}
			got := strings.Join(want, "\n")
			if got != shown && !*update {
				t.Errorf("%s shows other numbers than %s (go test -update rewrites it); replace them by:\n%s", name, line, got)
			}
			now.WriteString(before + open + line + begin + got + end)
		}
		now.WriteString(before)
		if *update {
			if err := os.WriteFile(path, []byte(now.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
