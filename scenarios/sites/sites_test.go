package sites

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T) (*File, []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "made-up.txt"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("made-up.txt", b)
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

// TestParse: a file is read, and written as it was.
func TestParse(t *testing.T) {
	t.Parallel()
	f, b := read(t)
	want := &File{"made-up", "6.12-test", []string{"idle", "opens", "forks"}, []Site{
		{Function, "do_exit", []string{"forks"}}, {Function, "schedule", []string{"idle", "opens", "forks"}},
		{Function, "vfs_open", []string{"opens"}}, {Spinlock, "cdev_lock", []string{"opens"}},
		{Mutex, "rtnl_mutex", []string{"idle", "forks"}},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("%+v", f)
	}
	slices.Reverse(f.Sites)
	f.Sort()
	if got, err := f.Bytes(); err != nil || !bytes.Equal(got, b) {
		t.Errorf("%v:\n%s", err, got)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	_, b := read(t)
	text := string(b)
	for name, tc := range map[string]struct{ old, new, want string }{
		"version":     {"sites 1", "sites 2", `x.txt:1: "hangbench sites 2" is not "hangbench sites 1"`},
		"kernel":      {"kernel made-up", "kernel", `x.txt:2: "kernel" is not of the form kernel NAME`},
		"work twice":  {"b=opens", "b=idle", `x.txt:4: "b=idle" is not of the form b=WORK`},
		"letter":      {"b=opens", "x=opens", `x.txt:4: "x=opens" is not of the form b=WORK`},
		"kind":        {"mutex rtnl", "lock rtnl", `x.txt:9: "lock rtnl_mutex ac" is not of the form KIND SYMBOL WORKS`},
		"symbol":      {"cdev_lock", "cdev+lock", `x.txt:8: "spinlock cdev+lock b" is not of`},
		"no work":     {"vfs_open b", "vfs_open ", `x.txt:7: "function vfs_open " is not of`},
		"other work":  {"vfs_open b", "vfs_open d", `x.txt:7: "d" has letters that no work has`},
		"wrong order": {"schedule abc", "schedule ba", `x.txt:6: "ba" has letters that no work has, or in another order`},
		"sorted":      {"function schedule", "function a", `x.txt:6: function a does not come behind function do_exit`},
		"twice":       {"function schedule", "function do_exit", `x.txt:6: function do_exit does not come behind`},
		"head only":   {text[strings.Index(text, "works"):], "", "x.txt:3: the file ends in its head"},
	} {
		if strings.Count(text, tc.old) != 1 {
			t.Fatalf("%s: %q stands there %d times", name, tc.old, strings.Count(text, tc.old))
		}
		_, err := Parse("x.txt", []byte(strings.Replace(text, tc.old, tc.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "made-up.txt"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("hangbench sites 1\nkernel k\nrelease r\nworks a=w\nrwsem s a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("x", b)
		if err != nil {
			return
		}
		again, err := file.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse("x", again); err != nil || !reflect.DeepEqual(back, file) {
			t.Errorf("%q is written as %q, which is read as %+v (%v)", b, again, back, err)
		}
	})
}
