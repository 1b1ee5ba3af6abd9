package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
)

// pkg is what "go list -json" says of a package.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

const module = "hangbench/"

// build is a way of building the project.
type build struct {
	name string
	tags string
	cgo  string
}

var builds = []build{{"host", "", "0"}, {"dom0", "xen", "1"}}

func golang(t *testing.T, b build, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		require.Missing(t, require.Go, "no go program in the search path: imports cannot be listed")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = ".." // the root of the module
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"CGO_ENABLED="+b.cgo)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func list(t *testing.T, b build) map[string]*pkg {
	t.Helper()
	out := golang(t, b, "list", "-deps", "-tags="+b.tags,
		"-json=ImportPath,Standard,Imports,TestImports,XTestImports,Deps", "./...")
	all := map[string]*pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read what go list says: %v", err)
		}
		all[p.ImportPath] = &p
	}
	return all
}

// below reports whether a package is dir or lies below it.
func below(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return path == module+dir || strings.HasPrefix(path, module+dir+"/")
	})
}

func ours(path string) bool { return strings.HasPrefix(path, module) }

// rules say what a package below a folder may depend on, at whatever distance.
var rules = []struct {
	name string
	in   []string
	may  func(dep string, standard bool) bool
}{
	{"cgo/* depends on the standard library only", []string{"cgo"}, func(dep string, standard bool) bool {
		return standard || dep == "C" || below(dep, "cgo")
	}},
	{"monitor does not depend on guests", []string{"monitor"},
		func(dep string, _ bool) bool { return !below(dep, "guests") }},
	{"guests does not depend on monitor", []string{"guests"},
		func(dep string, _ bool) bool { return !below(dep, "monitor") }},
	{"monitor, guests, scenarios and results do not depend on bench", []string{"monitor", "guests", "scenarios",
		"results"},
		func(dep string, _ bool) bool { return !below(dep, "bench") }},
	{"analysis depends on results and libraries only", []string{"analysis"}, func(dep string, _ bool) bool {
		return !ours(dep) || below(dep, "analysis", "results")
	}},
	{"results depends on the standard library only", []string{"results"}, func(dep string, standard bool) bool {
		return standard || below(dep, "results")
	}},
}

func TestImports(t *testing.T) {
	for _, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			all := list(t, b)
			standard := func(path string) bool { p := all[path]; return p != nil && p.Standard }
			for _, rule := range rules {
				seen := 0
				for path, p := range all {
					if !below(path, rule.in...) {
						continue
					}
					seen++
					for _, dep := range p.Deps {
						if !rule.may(dep, standard(dep)) {
							t.Errorf("%s: %s depends on %s", rule.name, path, dep)
						}
					}
					// What only tests import is not listed with its own dependencies; a
					// package of the standard library has no dot in its first element.
					for _, dep := range append(p.TestImports, p.XTestImports...) {
						if dep == module+"cgo/require" {
							continue
						}
						first, _, _ := strings.Cut(dep, "/")
						if !rule.may(dep, !ours(dep) && !strings.Contains(first, ".")) {
							t.Errorf("%s: a test of %s imports %s", rule.name, path, dep)
						}
					}
				}
				if seen == 0 {
					t.Errorf("%s: there is no package below %v", rule.name, rule.in)
				}
			}
		})
	}
}

// TestRequireImporters: package require is for tests only. Tests of every package
// may import it, whatever the rules say.
func TestRequireImporters(t *testing.T) {
	const require = module + "cgo/require"
	all := list(t, builds[0])
	for path, p := range all {
		if slices.Contains(p.Imports, require) {
			t.Errorf("%s imports %s", path, require)
		}
	}
	for _, dep := range all[require].Deps {
		if ours(dep) {
			t.Errorf("%s depends on %s", require, dep)
		}
	}
}

// TestXenctrlImporters: who may call Xen directly.
func TestXenctrlImporters(t *testing.T) {
	const xenctrl = module + "cgo/xenctrl"
	want := []string{module + "bench/cli", module + "bench/dom0", module + "bench/dom0/dom0test", module +
		"bench/dom0/heartbeat",
		module + "bench/dom0/recovery", module + "bench/dom0cmd", module + "bench/exit", module + "bench/price",
		module + "bench/xenhost",
		module + "cgo/xenctrl/xentest", module + "monitor/driver/libvmi", module + "monitor/driver/xenctrl"}
	for _, b := range builds {
		var got []string
		for path, p := range list(t, b) {
			if path != xenctrl && slices.Contains(slices.Concat(p.Imports, p.TestImports, p.XTestImports), xenctrl) {
				got = append(got, path)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s is imported by %v, want %v", b.name, xenctrl, got, want)
		}
	}
}

// TestLibVMIImporters: who may call LibVMI directly.
func TestLibVMIImporters(t *testing.T) {
	const libvmi = module + "cgo/libvmi"
	want := []string{module + "bench/cli", module + "monitor/driver/libvmi"}
	for _, b := range builds {
		var got []string
		for path, p := range list(t, b) {
			if path != libvmi && slices.Contains(slices.Concat(p.Imports, p.TestImports, p.XTestImports), libvmi) {
				got = append(got, path)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s is imported by %v, want %v", b.name, libvmi, got, want)
		}
	}
}

// TestOnlyXenctrlUsesC: with cgo and Xen, one package of ours has C in it.
func TestOnlyXenctrlUsesC(t *testing.T) {
	found := false
	for path, p := range list(t, builds[1]) {
		if !ours(path) || !slices.Contains(p.Imports, "C") {
			continue
		}
		if !below(path, "cgo") {
			t.Errorf("%s uses cgo", path)
		}
		found = found || path == module+"cgo/xenctrl"
	}
	if !found {
		t.Error("cgo/xenctrl does not use cgo in the dom0 build: is the build tag another one?")
	}
}

// TestBuildWithoutC: everything builds without a C compiler and without Xen.
func TestBuildWithoutC(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every package")
	}
	golang(t, builds[0], "build", "-o", t.TempDir(), "./...")
}
