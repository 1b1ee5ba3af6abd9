package cli

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/scenarios/suites"
)

// TestSetKernels: kernels of the command line replace those of the suite's guests, and a
// kernel that is a file gets a name that says its content.
func TestSetKernels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, other, same := file("one", "1"), file("other", "2"), file("same", "1")
	const nameOfOne, nameOfOther = "file-6b86b273ff34", "file-d4735e3a265e" // SHA-256 of 1 and 2
	g := func(kernel string, vcpus int) suites.Guest { return suites.Guest{Kernel: kernel, VCPUs: vcpus} }
	for _, tt := range []struct {
		name    string
		suite   []suites.Guest
		kernels []string
		want    []suites.Guest
		files   map[string]string
		given   bool
		says    string
	}{
		{"the suite's", []suites.Guest{g("cloud-6.12", 1)}, nil, []suites.Guest{g("cloud-6.12", 1)}, nil, false, ""},
		{"another", []suites.Guest{g("cloud-6.12", 1), g("cloud-6.12", 2)}, []string{"cloud-7.3"},
			[]suites.Guest{g("cloud-7.3", 1), g("cloud-7.3", 2)}, nil, true, ""},
		{"two, of guests that differ in it", []suites.Guest{g("cloud-6.12", 1), g("cloud-6.1", 1)},
			[]string{"cloud-7.3", "cloud-5.10"}, []suites.Guest{g("cloud-7.3", 1), g("cloud-5.10", 1)}, nil, true, ""},
		{"a file of the suite", []suites.Guest{g("file:"+one, 1), g("cloud-6.12", 1), g("file:"+other+","+dir, 1)}, nil,
			[]suites.Guest{g(nameOfOne, 1), g("cloud-6.12", 1), g(nameOfOther, 1)},
			map[string]string{nameOfOne: one, nameOfOther: other + "," + dir}, true, ""},
		{"a file of the command line", []suites.Guest{g("cloud-6.12", 1)}, []string{"file:" + one},
			[]suites.Guest{g(nameOfOne, 1)}, map[string]string{nameOfOne: one}, true, ""},
		{"an unknown name", nil, []string{"cloud-1"}, nil, nil, false, `--kernel "cloud-1": there are cloud-6.12, `},
		{"no path", nil, []string{"file:"}, nil, nil, false, "file:PATH"},
		{"twice", nil, []string{"cloud-7.3", "cloud-7.3"}, nil, nil, false, "twice"},
		{"no file", []suites.Guest{g("cloud-6.12", 1)}, []string{"file:" + dir + "/nosuch"}, nil, nil, false, "no such file"},
		{"a folder", []suites.Guest{g("file:"+dir, 1)}, nil, nil, nil, false, "is no regular file"},
		{"no modules", []suites.Guest{g("file:"+one+",/nosuch", 1)}, nil, nil, nil, false, "its modules: "},
		{"one file under two names", []suites.Guest{g("file:"+one, 1), g("file:"+same, 1)}, nil, nil, nil, false,
			"are the same file"},
	} {
		s := &suites.Suite{Name: "x", Guests: tt.suite}
		was := slices.Clone(tt.suite)
		err := setKernels(s, tt.kernels)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
			}
			continue
		}
		if err != nil || !slices.Equal(s.Guests, tt.want) || !maps.Equal(s.KernelFiles, tt.files) ||
			s.GivenGuests != tt.given {
			t.Errorf("%s: %+v, files %v, given %v, %v", tt.name, s.Guests, s.KernelFiles, s.GivenGuests, err)
		}
		if !slices.Equal(tt.suite, was) {
			t.Errorf("%s: the guests of the caller were changed", tt.name)
		}
		if err := sameFiles(s); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	s := &suites.Suite{KernelFiles: map[string]string{nameOfOne: one}}
	file("one", "another")
	if err := sameFiles(s); err == nil || !strings.Contains(err.Error(), "has changed since the run began") {
		t.Errorf("a file that has changed: %v", err)
	}
	if err := os.Remove(one); err != nil {
		t.Fatal(err)
	}
	if err := sameFiles(s); err == nil {
		t.Error("a file that is gone is as it was")
	}
}
