package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme: the tables in the README are those of the reference run.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "<!-- reference: begin -->\n")
	shown, _, end := strings.Cut(rest, "\n<!-- reference: end -->")
	if !ok || !end {
		t.Fatal("the README does not mark where the reference run's tables are")
	}
	status, stdout, stderr := hangbench(t, "report", filepath.Join("..", "..", "results", "reference", "quick"), "--format", "md")
	if status != ExitDone || stderr != "" {
		t.Fatalf("report of the reference run: status %d, %s", status, stderr)
	}
	var want []string
	for line := range strings.Lines(strings.TrimSpace(stdout)) {
		want = append(want, strings.TrimRight(line, " \n"))
	}
	if got := strings.Join(want, "\n"); got != shown {
		t.Errorf("the README shows other numbers than the reference run has; replace them by:\n%s", got)
	}
}
