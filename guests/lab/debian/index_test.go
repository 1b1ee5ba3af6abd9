package debian

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const someIndex = `Package: bochs
Version: 3.0+dfsg-1
Architecture: amd64
Description: emulator
 of many
 .
 lines
Filename: pool/main/b/bochs/bochs_3.0+dfsg-1_amd64.deb
Size: 1921016
Installed-Size: 7000
SHA256: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff

# a comment
Package: vgabios
Provides: bios (= 1), other
Version: 0.8
`

func TestReadStanzas(t *testing.T) {
	t.Parallel()
	var got []stanza
	long := "Depends: " + strings.Repeat("x, ", 50_000) + "\n"
	err := readStanzas(strings.NewReader(long+someIndex), func(s stanza) error { got = append(got, s); return nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []stanza{
		{"Package": "bochs", "Version": "3.0+dfsg-1", "Architecture": "amd64",
			"Filename": "pool/main/b/bochs/bochs_3.0+dfsg-1_amd64.deb", "Size": "1921016", "Installed-Size": "7000",
			"SHA256": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
		{"Package": "vgabios", "Provides": "bios (= 1), other", "Version": "0.8"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	p, err := want[0].pkg("trixie")
	if err != nil || p.SizeBytes != 1921016 || p.InstalledKiB != 7000 || p.Suite != "trixie" {
		t.Errorf("package %+v, %v", p, err)
	}

	stop := errors.New("stop")
	if err := readStanzas(strings.NewReader(someIndex), func(stanza) error { return stop }); err != stop {
		t.Errorf("the caller's error became %v", err)
	}
	if err := readStanzas(strings.NewReader("Package: x\nno colon\n"), func(stanza) error { return nil }); err == nil ||
		!strings.Contains(err.Error(), "line 2") {
		t.Errorf("a line without a field gives %v", err)
	}
	if err := readStanzas(strings.NewReader("Version: "+strings.Repeat("1", 1<<17)+"\n"),
		func(stanza) error { return nil }); err == nil {
		t.Error("an endless version is taken")
	}
}

func TestStanzaPkgRefuses(t *testing.T) {
	t.Parallel()
	good := func() stanza {
		return stanza{"Package": "x", "Version": "1", "Architecture": "all", "Filename": "pool/x.deb", "Size": "1",
			"SHA256": strings.Repeat("0a", 32)}
	}
	if _, err := good().pkg("trixie"); err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]string{"Package": "", "Version": "", "Architecture": "", "Filename": "",
		"Size": "-1", "SHA256": "0a", "Installed-Size": "x"} {
		s := good()
		s[field] = value
		if _, err := s.pkg("trixie"); err == nil {
			t.Errorf("%s %q is taken", field, value)
		}
	}
}

func TestParsePlan(t *testing.T) {
	t.Parallel()
	got, err := parsePlan([]byte("Reading package lists...\n'http://m/debian/pool/a%2bb_1%3a2_all.deb' " +
		"a+b_1%3a2_all.deb 12 SHA256:00\n'http://m/x.deb' x.deb 3\nDone\n"))
	want := []planned{{"http://m/debian/pool/a%2bb_1%3a2_all.deb", "a+b_1%3a2_all.deb"}, {"http://m/x.deb", "x.deb"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"'http://m/x.deb\n", "'http://m/x.deb' x.deb\n", "'http://m/x.deb' ../x.deb 3\n",
		"'http://m/x.deb' x.rpm 3\n"} {
		if got, err := parsePlan([]byte(bad)); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
	if p, ok := pathBelow("http://m/debian/pool/a%2bb.deb", "http://m/debian/"); !ok || p != "pool/a+b.deb" {
		t.Errorf("pathBelow gives %q, %t", p, ok)
	}
	if _, ok := pathBelow("http://m/debian-security/pool/a.deb", "http://m/debian"); ok {
		t.Error("one archive is taken for the other")
	}
}

func FuzzStanzas(f *testing.F) {
	f.Add([]byte(someIndex))
	f.Add([]byte("\n\n:\n x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Bad input may be an error. Each stanza must be sound.
		_ = readStanzas(bytes.NewReader(data), func(s stanza) error {
			if len(s) == 0 {
				t.Fatal("an empty paragraph was reported")
			}
			for k, v := range s {
				if !indexFields[k] || strings.ContainsRune(v, '\n') {
					t.Fatalf("field %q: %q", k, v)
				}
			}
			_, _ = s.pkg("trixie")
			return nil
		})
	})
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte("'http://m/x.deb' x.deb 3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := parsePlan(data)
		if err != nil && plan != nil {
			t.Fatal("a plan with an error")
		}
		for _, p := range plan {
			if strings.ContainsRune(p.file, '/') {
				t.Fatalf("file name %q", p.file)
			}
		}
	})
}

func TestParseLockRefuses(t *testing.T) {
	t.Parallel()
	good := `{"schema":1,"packages":[{"name":"a","version":"1","file":"a_1_amd64.deb","sha256":"` +
		strings.Repeat("0", 64) + `","size_bytes":1}]}`
	if l, err := parseLock([]byte(good)); err != nil || len(l.Packages) != 1 || l.SizeBytes() != 1 ||
		l.Packages[0].Version != "1" {
		t.Fatalf("%+v, %v", l, err)
	}
	for old, new := range map[string]string{
		`"name":"a"`:     `"name":""`,
		"a_1_amd64.deb":  "../a.deb",
		`"sha256":"0000`: `"sha256":"zz00`,
		`es":1}`:         `es":0}`,
		`{"schema"`:      `[{"schema"`,
	} {
		bad := strings.Replace(good, old, new, 1)
		if bad == good {
			t.Fatalf("%q is not in the lock", old)
		}
		if _, err := parseLock([]byte(bad)); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"schema":1,"packages":[{"name":"a","version":"1","file":"a_1_amd64.deb","sha256":"` +
		strings.Repeat("0", 64) + `","size_bytes":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLock(data)
		if err != nil {
			return
		}
		for _, p := range l.Packages {
			if strings.ContainsAny(p.File, "/\x00") || p.SizeBytes <= 0 {
				t.Fatalf("package %+v", p)
			}
		}
	})
}
