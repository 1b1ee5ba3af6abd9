package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme: the tables that the documents show are those of the runs they say
// they are from. Such a table stands between two marks, of which the first has
// the command line that prints it:
//
//	<!-- report RUN --tables LIST: begin -->
//	<!-- report: end -->
func TestReadme(t *testing.T) {
	const open, begin, end = "<!-- report ", ": begin -->\n", "\n<!-- report: end -->"
	root := filepath.Join("..", "..")
	for _, name := range []string{"README.md", "EXPERIMENTS.md", filepath.Join("results", "README.md")} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		marks := 0
		_, rest, more := strings.Cut(string(text), open)
		for ; more; _, rest, more = strings.Cut(rest, open) {
			line, after, ok := strings.Cut(rest, begin)
			shown, after, closed := strings.Cut(after, end)
			args := strings.Fields(line)
			if !ok || !closed || len(args) == 0 || strings.Contains(line, "\n") {
				t.Fatalf("%s: the table that begins with %q has no end", name, line[:min(len(line), 60)])
			}
			rest = after
			marks++
			args[0] = filepath.Join(root, filepath.FromSlash(args[0]))
			status, stdout, stderr := hangbench(t, append([]string{"report", "--format", "md"}, args...)...)
			if status != ExitDone || stderr != "" {
				t.Errorf("%s: report %s: status %d, %s", name, line, status, stderr)
				continue
			}
			var want []string
			for line := range strings.Lines(strings.TrimSpace(stdout)) {
				want = append(want, strings.TrimRight(line, " \n"))
			}
			if got := strings.Join(want, "\n"); got != shown {
				t.Errorf("%s shows other numbers than %s; replace them by:\n%s", name, line, got)
			}
		}
		if marks == 0 && name != "EXPERIMENTS.md" {
			t.Errorf("%s does not mark where its tables are from", name)
		}
	}
}
