package xenctrl_test

import (
	"errors"
	"testing"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
)

func TestDomainByName(t *testing.T) {
	t.Parallel()
	h := xentest.NewHost(xentest.Config{})
	defer h.Close()
	s := h.Store()
	for path, v := range map[string]string{
		"/local/domain/3/name": "g", "/local/domain/4/vm": "x", "/local/domain/odd/name": "g2",
	} {
		if err := s.Write(path, v); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := s.DomainByName("g"); err != nil || id != 3 {
		t.Errorf("g: %d %v", id, err)
	}
	for _, name := range []string{"g2", "x", ""} {
		if _, err := s.DomainByName(name); !errors.Is(err, xenctrl.ErrNoDomain) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if xenctrl.DomainPath(12) != "/local/domain/12" {
		t.Error(xenctrl.DomainPath(12))
	}
}

func TestStoreClose(t *testing.T) {
	t.Parallel()
	h := xentest.NewHost(xentest.Config{})
	defer h.Close()
	s := h.Store()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); !errors.Is(err, xenctrl.ErrClosed) {
		t.Error(err)
	}
}
