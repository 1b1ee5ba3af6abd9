package bench

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/guests/lab/toolchain"
)

// dom0Program is the package of the program that the lab's dom0 runs. The lab is
// named by a hash of it among others (lab.Manifest).
const dom0Program = "./bench/cmd/hangbench-dom0"

// notInDom0 are packages that the dom0 program must not link. They change often, and
// each change of the dom0 program makes a new lab.
var notInDom0 = []string{
	module + "analysis", module + "bench/cli", module + "bench/labhost", module + "bench/progress",
	module + "bench/price/tables", module + "guests/image", module + "guests/init",
	"github.com/spf13/cobra", "gonum.org/v1", "github.com/olekukonko", "golang.org/x/perf",
	"github.com/schollz/progressbar",
}

// TestDom0Program: the dom0 program links nothing of the analysis, the command line,
// the documents or the lab's build.
func TestDom0Program(t *testing.T) {
	t.Parallel()
	b := builds[1]
	deps := strings.Fields(string(golang(t, b, "list", "-deps", "-tags="+b.tags, dom0Program)))
	for _, want := range []string{"bench/agent", "bench/dom0", "bench/price", "bench/xenhost", "guests/lab/wire",
		"cgo/xenctrl"} {
		if !slices.Contains(deps, module+want) {
			t.Errorf("the dom0 program does not link %s: it is another program, and this test tests nothing", want)
		}
	}
	for _, dep := range deps {
		for _, not := range notInDom0 {
			if dep == not || strings.HasPrefix(dep, not+"/") {
				t.Errorf("the dom0 program links %s", dep)
			}
		}
		// Of the lab's package only what both sides must agree on.
		if below(dep, "guests/lab") && !below(dep, "guests/lab/wire", "guests/lab/place") {
			t.Errorf("the dom0 program links %s", dep)
		}
	}
}

// TestDom0ProgramStable: a change in the analysis or in the command line leaves the
// dom0 program as it is, byte for byte, and with it the lab's key and every record. A
// change in the program itself does not.
func TestDom0ProgramStable(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the dom0 program three times")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// build builds the program as the lab does, but without Xen's libraries, with one
	// file of the source changed, and returns its hash.
	build := func(changed string) [sha256.Size]byte {
		t.Helper()
		args := append([]string{"build"}, toolchain.GoFlags()...)
		if changed != "" {
			source, err := os.ReadFile(filepath.Join(root, changed))
			if err != nil {
				t.Fatal(err)
			}
			other := filepath.Join(dir, "other.go")
			text := string(source) + "\nfunc Another() string { return \"another\" }\n\nvar another = Another()\n"
			if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, changed): other}})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(path, overlay, 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, "-overlay", path)
		}
		out := filepath.Join(dir, "program")
		golang(t, builds[0], append(args, "-o", out, dom0Program)...)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	as := build("")
	for _, changed := range []string{"analysis/claims/claims.go", "bench/cli/run.go"} {
		if build(changed) != as {
			t.Errorf("a change in %s changes the dom0 program", changed)
		}
	}
	if build("bench/agent/exec.go") == as {
		t.Error("a change in the agent leaves the dom0 program as it is: this test tests nothing")
	}
}
