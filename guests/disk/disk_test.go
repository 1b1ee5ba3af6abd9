package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRequest checks the layout against the sizes and offsets that the kernel's
// header gives on x86-64.
func TestRequest(t *testing.T) {
	t.Parallel()
	target, err := target("linear", unix.Mkdev(1, 0), 196608, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := request("guest-1", flagSuspend, target)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) != 312+40+8 || le.Uint32(b) != 4 || int(le.Uint32(b[12:])) != len(b) || le.Uint32(b[16:]) != 312 ||
		le.Uint32(b[20:]) != 1 || le.Uint32(b[28:]) != 2 {
		t.Errorf("header %x", b[:48])
	}
	if got := string(bytes.TrimRight(b[48:176], "\x00")); got != "guest-1" {
		t.Errorf("name %q", got)
	}
	s := b[312:]
	if le.Uint64(s[8:]) != 196608 || le.Uint32(s[20:]) != 48 || string(s[24:30]) != "linear" ||
		string(s[40:47]) != "1:0 0\x00\x00" {
		t.Errorf("target %q", s)
	}
	if _, err := request(strings.Repeat("x", 128), 0); err == nil {
		t.Error("a name was cut off")
	}
}

func TestNone(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(ramDisk); err == nil {
		t.Skip("this machine has a RAM disk: it is not touched")
	}
	if _, err := Make("guest-1"); !errors.Is(err, ErrNone) {
		t.Errorf("without a RAM disk: %v, want %v", err, ErrNone)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	b, err := target("delay", unix.Mkdev(252, 3), 8, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if kind, params := string(b[24:29]), string(b[specSize:]); kind != "delay" ||
		params != "252:3 0 1000\x00\x00\x00\x00" {
		t.Errorf("target %q with parameters %q", kind, params)
	}
}
