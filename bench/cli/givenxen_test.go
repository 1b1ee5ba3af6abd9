package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hangbench/bench/exit"
	"hangbench/guests/lab"
	"hangbench/results"
)

// TestFindXen: --xen names a release or a boot image, --xen-debs a folder, and a mistake is
// found before anything is built.
func TestFindXen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ xen, debs, says string }{
		{"", "", ""}, {"4.17", "", ""}, {"4.20", "", ""},
		{"4.1", "", `--xen "4.1": there are 4.20, 4.17, and file:PATH`},
		{"file:", "", "and file:PATH"},
		{text, "", "and file:PATH"},
		{"file:/nosuch", "", "no such file"},
		{"file:" + text, "", "Xen file:" + text + ": it is no image of Xen"},
		{"file:/", "", "it is no regular file"},
		{"", "/nosuch", "no such file"},
		{"", text, "not a directory"},
		{"", dir, "it has no package xen-hypervisor-RELEASE-amd64"},
		{"4.17", dir, "give one of them"},
	} {
		l := &labFlags{xen: tt.xen, xenDebs: tt.debs}
		err := l.findXen()
		if tt.says == "" {
			if err != nil || l.givenXen != nil {
				t.Errorf("--xen %q: %v", tt.xen, err)
			}
			continue
		}
		usage := exit.UsageError{}
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("--xen %q --xen-debs %q: %v, want %q", tt.xen, tt.debs, err, tt.says)
		}
	}
}

// TestSameXen: a run goes on on the Xen on which it began.
func TestSameXen(t *testing.T) {
	t.Parallel()
	id := lab.XenID{Form: lab.XenFile, SHA256: strings.Repeat("ab", 32), Version: "4.20.5-pre", Tools: "4.20"}
	other := id
	other.SHA256 = strings.Repeat("cd", 32)
	const fileAB, debsAB = "4.20.5-pre (file:abababababab)", "4.17.9-1 (debs:abababababab)"
	for _, tt := range []struct {
		was   string
		flags labFlags
		want  string // --xen
		says  string
	}{
		{"", labFlags{}, "", ""},
		{"4.20.4+63-g7abfd2bce2-0+deb13u1", labFlags{}, "", ""},
		{"4.1.7", labFlags{}, "", ""},
		{"4.17.7+13-g2445b30a44-0+deb12u1", labFlags{}, "4.17", ""},
		{"4.20.4", labFlags{xen: "4.17"}, "4.17", ""}, // the key of the lab tells
		{"4.20.4", labFlags{xen: "4.1"}, "4.1", "there are 4.20"},
		{fileAB, labFlags{}, "", "resume: DIR ran on Xen " + fileAB + ": name that one again with --xen file:PATH"},
		{debsAB, labFlags{}, "", "name that one again with --xen-debs FOLDER"},
		{fileAB, labFlags{xen: "file:x", givenXen: &lab.GivenXen{ID: id}}, "file:x", ""},
		{fileAB, labFlags{xen: "file:x", givenXen: &lab.GivenXen{ID: other}}, "file:x",
			"ran on Xen " + fileAB + ", and --xen file:x is 4.20.5-pre (file:cdcdcdcdcdcd): name the former, " +
				"or run the suite anew"},
		{fileAB, labFlags{xen: "4.20"}, "4.20", "and --xen 4.20: name the former"},
	} {
		m := &results.Manifest{Versions: results.Versions{Packages: map[string]string{xenVersion: tt.was}}}
		err := tt.flags.sameXen("DIR", m)
		usage := exit.UsageError{}
		if tt.says != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), tt.says)) ||
			tt.says == "" && err != nil || tt.flags.xen != tt.want {
			t.Errorf("Xen %q: --xen %q, want %q; %v, want %q", tt.was, tt.flags.xen, tt.want, err, tt.says)
		}
	}
}
