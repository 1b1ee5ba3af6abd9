package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/cgo/require"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
)

func TestFindCache(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	in := func(elem ...string) string { return filepath.Join(append([]string{root}, elem...)...) }
	all := map[string]string{CacheEnv: in("env"), "XDG_CACHE_HOME": in("xdg"), "HOME": in("home")}
	without := func(names ...string) map[string]string {
		m := maps.Clone(all)
		for _, n := range names {
			delete(m, n)
		}
		return m
	}
	for _, tc := range []struct {
		name string
		dir  string
		env  map[string]string
		want string
	}{
		{"flag", in("flag", "below"), all, in("flag", "below")},
		{"variable", "", all, in("env")},
		{"XDG", "", without(CacheEnv), in("xdg", "hangbench")},
		{"home", "", without(CacheEnv, "XDG_CACHE_HOME"), in("home", ".cache", "hangbench")},
		{"flag without a home", in("flag"), nil, in("flag")},
		{"letters of all kinds", in("Cäche-☃_1.5+x@y=z~"), all, in("Cäche-☃_1.5+x@y=z~")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := FindCache(tc.dir, func(n string) string { return tc.env[n] })
			if err != nil {
				t.Fatal(err)
			}
			if string(c) != tc.want {
				t.Errorf("cache is %s, want %s", c, tc.want)
			}
			if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
				t.Errorf("to find it has made %v, %v", left, err)
			}
			if damaged, n, err := c.Check(t.Context()); err != nil || len(damaged) > 0 || n != (Counts{}) {
				t.Errorf("a cache that is not made: %v, %v, %v", damaged, n, err)
			}
			defer os.RemoveAll(in(strings.Split(strings.TrimPrefix(tc.want, root), "/")[1]))
			if err := c.Make(); err != nil {
				t.Fatal(err)
			}
			if st, err := os.Stat(string(c)); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
				t.Errorf("the folder is %v (%v), want one with mode 0700", st, err)
			}
		})
	}
}

func TestFindCacheRelative(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := FindCache("near", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(string(c)) || filepath.Base(string(c)) != "near" {
		t.Errorf("cache is %s, want an absolute path", c)
	}
}

// TestLacks: a cache lacks less with each thing that is there, and nothing with a lab.
func TestLacks(t *testing.T) {
	t.Parallel()
	c := Cache(t.TempDir())
	before := c.lacks()
	if before < 500<<20 {
		t.Errorf("an empty cache lacks %d bytes", before)
	}
	for _, file := range []string{"packages/packages.json", "prefix-1/x", "labs/1/" + ManifestFile} {
		if err := os.MkdirAll(filepath.Dir(c.path(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		after := c.lacks()
		if after >= before {
			t.Errorf("with %s it lacks %d bytes, without %d", file, after, before)
		}
		before = after
	}
	if before != 0 {
		t.Errorf("a cache with a lab lacks %d bytes", before)
	}
}

// TestWaitLock: who waits for a lock hears an interrupt.
func TestWaitLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	held, err := lockFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := waitLock(ctx, path, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
	held.Close()
	f, err := waitLock(t.Context(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestFindCacheErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no home": "", "a file is in the way": file,
		"a file is on the way": filepath.Join(file, "below"), "a colon": file + ":x", "a percent sign": file + "%c",
		"a blank": file + " x", "a wide blank": file + "\u3000", "a line": file + "\nx", "not UTF-8": file + "\xff",
		"a quote": file + "'", "a dollar": file + "$x", "a comma": file + ",x", "a number sign": file + "#"} {
		c, err := FindCache(dir, func(string) string { return "" })
		if err == nil {
			t.Errorf("%s: cache is %s", name, c)
			continue
		}
		// The message tells the user what to do.
		if !strings.Contains(err.Error(), CacheEnv) {
			t.Errorf("%s: %v does not name %s", name, err, CacheEnv)
		}
		if dir != "" && !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v does not name the folder", name, err)
		}
	}
}

func testManifest() Manifest {
	return Manifest{
		Schema: schema,
		Packages: []debian.Package{
			{Name: "bochs", Version: "3.0+dfsg-1", Arch: "amd64", Suite: "trixie", Path: "pool/b.deb", File: "b.deb",
				SHA256: "aa", SizeBytes: 1, InstalledKiB: 2},
			{Name: debian.Lab().Xen.Hypervisor(), Version: "4.20.4", Arch: "amd64", Suite: "trixie", Path: "pool/x.deb",
				File: "x.deb", SHA256: "bb", SizeBytes: 3, InstalledKiB: 4},
		},
		Kernels: []debian.Package{{Name: "linux", Version: "6.1", Arch: "amd64", Suite: "bookworm", Path: "pool/l.deb",
			File: "l.deb", SHA256: "cc", SizeBytes: 5, InstalledKiB: 6}},
		GuestPackages: []debian.Package{{Name: "stress-ng", Version: "0.18", Arch: "amd64", Suite: "trixie",
			Path: "pool/s.deb", File: "s.deb", SHA256: "dd", SizeBytes: 7, InstalledKiB: 8}},
		XenPackages: []debian.Package{{Name: "xen-hypervisor-4.17-amd64", Version: "4.17.7", Arch: "amd64", Suite: "bookworm",
			Path: "pool/o.deb", File: "o.deb", SHA256: "ee", SizeBytes: 9, InstalledKiB: 10}},
		HVMPackages: []debian.Package{{Name: "qemu-system-xen", Version: "10.0", Arch: "amd64", Suite: "trixie",
			Path: "pool/q.deb", File: "q.deb", SHA256: "ff", SizeBytes: 11, InstalledKiB: 12}},
		Programs: map[string]string{"agent": "cc", "init": "dd"}, Go: "go1.26",
		Modules: []string{"xenfs", "xen-blkfront"}, ProfileFields: hashStrings([]string{"task_struct.comm"}),
		GivenXen: &XenID{Form: XenFile, SHA256: "ff", Version: "4.17.9-mine", Tools: "4.17"},
		XenArgs:  xenArgs, Dom0Args: dom0Args, Machine: bochs.DefaultMachine(),
		Guests: map[string]string{"cloud-6.12": "6.12.48-cloud-amd64"}, Dom0: "6.12.48-amd64",
	}
}

// touch changes every string and number below v, one at a time, and calls fn
// with the path of each while it is changed.
func touch(t *testing.T, path string, v reflect.Value, fn func(path string)) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		old := v.String()
		v.SetString(old + "x")
		fn(path)
		v.SetString(old)
	case reflect.Int, reflect.Int64:
		old := v.Int()
		v.SetInt(old + 1)
		fn(path)
		v.SetInt(old)
	case reflect.Pointer:
		touch(t, path, v.Elem(), fn)
		old := reflect.ValueOf(v.Interface())
		v.SetZero()
		fn(path + " removed")
		v.Set(old)
	case reflect.Struct:
		for i := range v.NumField() {
			touch(t, path+"."+v.Type().Field(i).Name, v.Field(i), fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			touch(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i), fn)
		}
		old := reflect.ValueOf(v.Interface())
		v.Set(old.Slice(0, old.Len()-1))
		fn(path + " shortened")
		v.Set(old)
	case reflect.Map:
		for _, k := range v.MapKeys() {
			old := v.MapIndex(k)
			at := fmt.Sprintf("%s[%v]", path, k)
			v.SetMapIndex(k, reflect.ValueOf(old.String()+"x"))
			fn(at)
			v.SetMapIndex(k, reflect.Value{})
			fn(at + " removed")
			v.SetMapIndex(k, old)
		}
	default:
		t.Fatalf("%s is a %v, which this test does not know how to change", path, v.Kind())
	}
}

// provenance matches the fields that record an origin and do not change the image.
var provenance = regexp.MustCompile(`^Manifest\.(Go|(Packages|Kernels|XenPackages|GuestPackages|HVMPackages)\[\d+\]\.` +
	`(Suite|Path|File|SizeBytes|InstalledKiB))$`)

// TestKey: a change of anything that the image is made from changes the lab's name,
// and a change of where it came from does not.
func TestKey(t *testing.T) {
	t.Parallel()
	m := testManifest()
	was := m.Key()
	seen := map[string]string{was: "the manifest as it was"}
	changed, same := 0, 0
	touch(t, "Manifest", reflect.ValueOf(&m).Elem(), func(path string) {
		key := m.Key()
		if len(key) != 16 {
			t.Errorf("key %q is not 16 digits long", key)
		}
		if provenance.MatchString(path) {
			if same++; key != was {
				t.Errorf("a change of %s changes the key", path)
			}
			return
		}
		if other, dup := seen[key]; dup {
			t.Errorf("a change of %s gives the same key as %s", path, other)
		}
		seen[key] = path
		changed++
	})
	if changed < 20 || same != 6*5+1 {
		t.Errorf("%d changes of the image and %d of its origin were tried", changed, same)
	}
	again := testManifest()
	if m.Key() != again.Key() {
		t.Error("equal manifests have different keys")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	m := testManifest()
	m.GivenXen = nil
	if got := m.Version("bochs"); got != "3.0+dfsg-1" {
		t.Errorf("version of bochs is %q", got)
	}
	if got := m.XenVersion(); got != "4.20.4" {
		t.Errorf("version of Xen is %q", got)
	}
	m.Xen = "4.17"
	if got := m.XenVersion(); got != "4.17.7" {
		t.Errorf("version of the other Xen is %q", got)
	}
	if got := m.Version("absent"); got != "" {
		t.Errorf("version of an absent package is %q", got)
	}
}

// TestFindKernels: dom0's kernel is the generic one of the first prefix; guest kernels
// are found in every prefix, in both places where Debian puts images.
func TestFindKernels(t *testing.T) {
	t.Parallel()
	const (
		generic = "boot/vmlinuz-6.12.48+deb13-amd64"
		cloud   = "boot/vmlinuz-6.12.48+deb13-cloud-amd64"
		new     = "usr/lib/modules/7.3.4+deb13-cloud-amd64/vmlinuz"
		older   = "boot/vmlinuz-6.1.0-56-cloud-amd64"
	)
	junk := []string{"boot/config-6.12.48+deb13-amd64", "boot/xen-4.20-amd64.gz", "boot/vmlinuz",
		"boot/vmlinuz-6.12.48+deb13-arm64", "boot/vmlinuz-6.12.48+deb13-amd64.old"}
	type found map[string]string // name → image, below the prefix
	for _, tc := range []struct {
		name        string
		own, second []string
		guests      []string
		want        found
		says        string
	}{
		{"both, among others", append(junk, generic, cloud), nil, []string{"cloud-6.12"},
			found{"dom0": generic, "cloud-6.12": cloud}, ""},
		{"dom0's own", []string{generic, cloud}, nil, []string{"generic-6.12"},
			found{"dom0": generic, "generic-6.12": generic}, ""},
		{"Linux 7", []string{generic, cloud}, []string{new}, []string{"cloud-7.3"},
			found{"dom0": generic, "cloud-7.3": new}, ""},
		{"two", []string{generic, cloud}, []string{older}, []string{"cloud-6.12", "cloud-6.1"},
			found{"dom0": generic, "cloud-6.12": cloud, "cloud-6.1": older}, ""},
		{"a generic kernel of the second is not dom0's", []string{cloud}, []string{generic}, []string{"cloud-6.12"}, nil,
			"no kernel for dom0; they have cloud-6.12, generic-6.12"},
		{"another version now", []string{generic}, []string{"usr/lib/modules/7.4.1+deb13-cloud-amd64/vmlinuz"},
			[]string{"cloud-7.3"}, nil, "no guest kernel cloud-7.3 any more; they have generic-6.12, cloud-7.4"},
		{"empty", nil, nil, []string{"cloud-6.12"}, nil, "they have none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, second, out := t.TempDir(), t.TempDir(), t.TempDir()
			for prefix, files := range map[string][]string{own: tc.own, second: tc.second} {
				for _, f := range files {
					f = filepath.Join(prefix, f)
					if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(f, nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			got, err := findKernels(out, tc.guests, own, second)
			if tc.want == nil {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("found %+v, %v; want %q", got, err, tc.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Dir != out || len(got.sources) != len(tc.want) || len(got.guests) != len(tc.guests) {
				t.Errorf("found %+v", got)
			}
			for name, image := range tc.want {
				prefix := own
				if slices.Contains(tc.second, image) {
					prefix = second
				}
				if got.sources[name] != filepath.Join(prefix, image) {
					t.Errorf("%s is %s, want %s", name, got.sources[name], image)
				}
				release := got.guests[name]
				if name == dom0Kernel {
					release = got.dom0
				}
				if dir := filepath.Join(prefix, "usr/lib/modules", release); release == "" || got.modules[release] != dir {
					t.Errorf("%s is of release %q with modules %s, want %s", name, release, got.modules[release], dir)
				}
			}
		})
	}
}

// TestGuestKernels: every entry of the table can be chosen, and the ordinary lab is
// what it was before there were others.
func TestGuestKernels(t *testing.T) {
	t.Parallel()
	ordinary, err := Variant{}.kernels(nil)
	if err != nil || len(ordinary) != 2 || ordinary[0].Name != "cloud-6.12" || ordinary[1].Name != "cloud-6.1" {
		t.Errorf("the ordinary lab has %+v, %v", ordinary, err)
	}
	dirs := map[string]bool{}
	for _, k := range guestKernels() {
		v := Variant{Kernel: VariantKernel(k.Name)}
		if k.Ordinary != (v == Variant{}) {
			t.Errorf("%s: lab %q", k.Name, v)
		}
		if got, err := v.kernels(nil); err != nil || !slices.Contains(got, k) {
			t.Errorf("%s: the lab %q has %+v, %v", k.Name, v, got, err)
		}
		if !regexp.MustCompile(`^(cloud|generic)-\d+\.\d+$`).MatchString(k.Name) {
			t.Errorf("findKernels gives no kernel the name %s", k.Name)
		}
		if (k.Package == "") != (k.Release == "") || dirs[Cache("c").packagesOf(k)] {
			t.Errorf("%s: packages %s of %s share the folder of another kernel", k.Name, k.Package, k.Release)
		}
		if k.Package != "" {
			dirs[Cache("c").packagesOf(k)] = true
		}
	}
	if _, err := (Variant{Kernel: "cloud-1.0"}).kernels(nil); err == nil || !strings.Contains(err.Error(), "cloud-7.3") {
		t.Errorf("an unknown kernel: %v", err)
	}
}

// TestVariants: the ordinary lab is first, each variant has a name of its own, and every
// guest kernel, release of Xen and set of programs has a lab among them.
func TestVariants(t *testing.T) {
	t.Parallel()
	all := Variants()
	names := map[string]bool{}
	for i, v := range all {
		if names[v.String()] || (v.String() == "") != (i == 0) {
			t.Errorf("lab %d has the name %q", i, v)
		}
		names[v.String()] = true
	}
	for _, k := range GuestKernels() {
		if !slices.Contains(all, Variant{Kernel: VariantKernel(k)}) {
			t.Errorf("no lab has the kernel %s", k)
		}
	}
	for _, x := range Xens() {
		if !slices.Contains(all, Variant{Xen: VariantXen(x)}) {
			t.Errorf("no lab has Xen %s", x)
		}
	}
	for _, p := range GuestPrograms() {
		if !slices.Contains(all, Variant{Programs: p}) {
			t.Errorf("no lab has the programs %s", p)
		}
	}
	if !slices.Contains(all, Variant{Superpages: true}) {
		t.Error("no lab has superpages")
	}
	if !slices.Contains(all, Variant{HVM: true}) {
		t.Error("no lab has guests of type HVM")
	}
}

// TestXens: every release of the table can be chosen and has packages of its own, and the
// ordinary lab is on the first.
func TestXens(t *testing.T) {
	t.Parallel()
	if p, err := (Variant{}).platform(); err != nil || p != debian.Lab() || string(p.Xen) != Xens()[0] {
		t.Errorf("the ordinary lab is on %+v, %v", p, err)
	}
	releases := map[debian.Release]bool{}
	for i, name := range Xens() {
		v := Variant{Xen: VariantXen(name)}
		if (i == 0) != (v == Variant{}) {
			t.Errorf("%s: lab %q", name, v)
		}
		if p, err := v.platform(); err != nil || string(p.Xen) != name || releases[p.Release] {
			t.Errorf("%s: %+v, %v", name, p, err)
		} else {
			releases[p.Release] = true
		}
	}
	_, err := (Variant{Xen: "4.1"}).platform()
	if err == nil || !strings.Contains(err.Error(), strings.Join(Xens(), ", ")) {
		t.Errorf("an unknown Xen: %v", err)
	}
	if got := (Variant{Xen: "4.17", Kernel: "k"}).String(); got != "k-xen-4.17" {
		t.Errorf("the lab is called %q", got)
	}
}

// TestComplete: a lab counts as built only with its disc and the manifest of the same
// inputs.
func TestComplete(t *testing.T) {
	t.Parallel()
	m := testManifest()
	l := &Lab{Manifest: m, Dir: t.TempDir()}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := func(built bool, when string) {
		t.Helper()
		if got := l.complete(); (got == nil) != built {
			t.Errorf("%s: complete is %v, want %v", when, got, built)
		}
	}
	want(false, "empty folder")
	put(DiscFile, "")
	want(false, "disc only")
	put(ManifestFile, "{")
	want(false, "manifest cut short")
	put(ManifestFile, "{}")
	want(false, "manifest of another lab")
	if err := l.writeManifest(); err != nil {
		t.Fatal(err)
	}
	want(true, "disc and manifest")
	put(DiscFile, "more")
	want(false, "disc of another length")
	put(DiscFile, "")
	want(true, "disc as it was built")
	put(DiscFile, "as it is")
	if err := l.writeManifest(); err != nil {
		t.Fatal(err)
	}
	put(DiscFile, "As it is")
	want(false, "disc of another content")
	if err := os.Remove(l.Disc()); err != nil {
		t.Fatal(err)
	}
	want(false, "manifest without disc")
}

// TestSuperpages: the lab with superpages is another lab. Only Xen's command line
// differs.
func TestSuperpages(t *testing.T) {
	t.Parallel()
	small, large := (&Options{}).xenLine(), (&Options{Variant: Variant{Superpages: true}}).xenLine()
	if !strings.Contains(small, " hap_1gb=0 hap_2mb=0") || strings.Contains(large, "hap_") {
		t.Errorf("Xen's command lines are %q and %q", small, large)
	}
	if strings.ReplaceAll(small, noSuperpages, "") != strings.Replace(large, ",exec-sp", "", 1) ||
		!strings.Contains(large, ",exec-sp ") {
		t.Errorf("%q and %q differ in more than superpages", small, large)
	}
	a, b := testManifest(), testManifest()
	a.XenArgs, b.XenArgs = small, large
	if a.Key() == b.Key() {
		t.Error("both labs have the same name")
	}
}

// TestPrune: labs of the same source stay. Others are removed, unless they are in use.
func TestPrune(t *testing.T) {
	t.Parallel()
	c := Cache(t.TempDir())
	add := func(m Manifest, whole bool) string {
		dir := filepath.Join(c.labs(), m.Key())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if whole {
			l := &Lab{Manifest: m, Cache: c, Dir: dir}
			if err := errors.Join(os.WriteFile(l.Disc(), nil, 0o600), l.writeManifest()); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	keep := testManifest()
	variant := testManifest()
	variant.XenArgs += " x"
	old := testManifest()
	old.Programs = map[string]string{"agent": "old", "init": "dd"}
	used := testManifest()
	used.Programs = map[string]string{"agent": "used", "init": "dd"}
	half := testManifest()
	half.Dom0 = "half built"
	vmi := testManifest() // the agent with LibVMI is another program
	vmi.LibVMI, vmi.Programs = "0.15 aa", map[string]string{"agent": "with LibVMI", "init": "dd"}
	xen := testManifest() // the agent is linked with another libxenctrl
	xen.Xen, xen.Programs = "4.17", map[string]string{"agent": "with 4.17", "init": "dd"}
	dirs := map[string]bool{
		add(keep, true): true, add(variant, true): true, add(vmi, true): true, add(xen, true): true,
		add(old, true): false, add(used, true): true, add(half, false): false,
	}
	for dir, want := range givenLabs(t, c, add) {
		dirs[dir] = want
	}
	f, err := lockFile(filepath.Join(c.labs(), used.Key(), lockName), false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.prune(&keep)
	for dir, want := range dirs {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: kept %v, want %v", dir, err == nil, want)
		}
	}
}

// givenLabs adds labs with Xens of the user's, each a minute older than the one before, and
// says which stay: those of the two Xens that were built last.
func givenLabs(t *testing.T, c Cache, add func(Manifest, bool) string) map[string]bool {
	t.Helper()
	dirs := map[string]bool{}
	now := time.Now()
	for i, l := range []struct {
		sum, dom0 string
		form      string
		want      bool
	}{
		{"x1", "a", XenFile, true}, {"x2", "a", XenDebs, true}, {"x3", "a", XenDebs, false}, {"x1", "b", XenFile, true},
		{"x4", "a", XenFile, false},
	} {
		m := testManifest()
		m.GivenXen, m.Dom0 = &XenID{Form: l.form, SHA256: l.sum}, l.dom0
		if l.form == XenDebs { // the agent is linked with them
			m.Programs = map[string]string{"agent": l.sum, "init": "dd"}
			m.XenPackages = []debian.Package{{Name: "xen", Version: l.sum}}
		}
		dir := add(m, true)
		dirs[dir] = l.want
		made := now.Add(-time.Duration(i) * time.Minute)
		if err := os.Chtimes(filepath.Join(dir, ManifestFile), made, made); err != nil {
			t.Fatal(err)
		}
		if l.form == XenDebs {
			prefix := c.prefix(&debian.Lock{Packages: m.XenPackages})
			if err := os.MkdirAll(filepath.Join(prefix, "usr"), 0o755); err != nil {
				t.Fatal(err)
			}
			dirs[prefix] = l.want
		}
	}
	return dirs
}

// TestGuestTree: the ordinary initramfs has no program besides init, and an initramfs
// whose programs are missing is an error.
func TestGuestTree(t *testing.T) {
	t.Parallel()
	if _, err := Build(t.Context(), Options{Variant: Variant{Programs: "stress"}}); err == nil ||
		!strings.Contains(err.Error(), `no guest programs "stress"; there are stress-ng`) {
		t.Errorf("unknown programs: %v", err)
	}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "init"), []byte("PID 1"), 0o755); err != nil {
		t.Fatal(err)
	}
	none := &kernelSet{}
	plain := filepath.Join(work, "plain")
	if err := guestTree(none, work, "", "", plain); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(plain)
	if err != nil || strings.Contains(string(b), "stress-ng") || !strings.Contains(string(b), "PID 1") {
		t.Errorf("%d bytes of the ordinary initramfs (%v)", len(b), err)
	}
	if err := guestTree(none, work, "stress-ng", work, filepath.Join(work, "with")); err == nil ||
		!strings.Contains(err.Error(), "stress-ng") {
		t.Errorf("an initramfs without its program: %v", err)
	}
}

// TestHostGo: the go command builds the lab's programs without the user's flags,
// from the environment or from the file that "go env -w" writes.
func TestHostGo(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		require.Missing(t, require.Go, "there is no go command")
	}
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("GOFLAGS=-tags=fromfile\nGOPRIVATE=private.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", file)
	t.Setenv("GOFLAGS", "--banana")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("CGO_CFLAGS", "-Dfromenvironment")
	t.Setenv("HANGBENCH_TEST_OTHER", "kept")
	env, version, err := (&Options{Source: "."}).hostGo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version, "go1.") {
		t.Errorf("Go's version is %q", version)
	}
	cmd := exec.Command("go", "env", "GOFLAGS", "GOAMD64", "GOPRIVATE", "CGO_CFLAGS")
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "\nv1\nprivate.example\n-O2 -g\n"; got != want {
		t.Errorf("flags, processor, private modules and C flags are %q, want %q", got, want)
	}
	if !slices.Contains(env, "HANGBENCH_TEST_OTHER=kept") {
		t.Error("a variable that is not Go's is lost")
	}
}

// FuzzManifest: a manifest that is accepted has this program's schema, and keeps its key
// when it is written and read again.
func FuzzManifest(f *testing.F) {
	whole, err := json.Marshal(built{testManifest(), 1 << 20, strings.Repeat("ab", 32)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"schema":4,"programs":{"agent":null},"packages":[{}]}`))
	f.Add([]byte(`{"schema":4,"machine":{"ips":1e8},"disc_bytes":-1}`))
	f.Add([]byte(`{"schema":3}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseBuilt(data)
		if err != nil {
			return
		}
		if m.Schema != schema {
			t.Errorf("schema %d was taken", m.Schema)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseBuilt(b)
		if err != nil {
			t.Fatalf("%s does not read back: %v", b, err)
		}
		if len(m.Key()) != 16 || m.Key() != again.Key() {
			t.Errorf("key %s, and %s when read again from %s", m.Key(), again.Key(), b)
		}
	})
}
