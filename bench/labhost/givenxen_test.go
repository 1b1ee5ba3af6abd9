package labhost_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
)

// TestGivenXen: a lab with a boot image that the user brings, or with packages, has the
// ordinary lab's disc to the byte if they are the ordinary lab's own. So such a lab does
// what the ordinary one does. Its name differs. The short form takes the boot image.
func TestGivenXen(t *testing.T) {
	ctx, h := openLab(t, time.Minute)
	xen := debian.Lab().Xen
	image, err := lab.OpenXenFile(filepath.Join(h.Lab.XenPrefix, xen.Image()))
	if err != nil {
		t.Fatal(err)
	}
	sameDisc(t, ctx, h, image)
	if !all() {
		return
	}
	debs, err := filepath.Glob(filepath.Join(string(h.Lab.Cache), "packages", "debs", "*xen*.deb"))
	if err != nil || len(debs) < 4 {
		t.Fatalf("Xen's packages %q, %v", debs, err)
	}
	dir := t.TempDir()
	for _, path := range debs {
		if err := os.Symlink(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := lab.OpenXenDebs(dir)
	if err != nil {
		t.Fatal(err)
	}
	sameDisc(t, ctx, h, packages)
}

// sameDisc builds the lab with a Xen that is the ordinary one.
func sameDisc(t *testing.T, ctx context.Context, h *testLab, g *lab.GivenXen) {
	t.Helper()
	log := slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})
	other, err := buildLab(ctx, log, func(o *lab.Options) { o.GivenXen = g })
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(other.Lab.Dir)
	if g.ID.Form == lab.XenDebs {
		defer os.RemoveAll(other.Lab.XenPrefix)
	}
	defer other.Lab.Close()
	m := other.Lab.Manifest
	if m.Key() == h.Lab.Manifest.Key() || m.XenVersion() != g.ID.String() || m.GivenXen == nil || *m.GivenXen != g.ID {
		t.Errorf("lab %s has Xen %s, want %s", m.Key(), m.XenVersion(), &g.ID)
	}
	want, err := os.ReadFile(h.Lab.Disc())
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile(other.Lab.Disc())
	if err != nil || string(is) != string(want) {
		t.Errorf("with the %s of the lab's own Xen the disc is another one (%v)", g.ID.Form, err)
	}
}
