package labhost_test

import (
	"bytes"
	"testing"
	"time"

	"hangbench/monitor/detect"
)

// TestRecordTwice: recording the same stream twice gives the same bytes, with the
// observations of before and after the fault.
func TestRecordTwice(t *testing.T) {
	long(t)
	ctx, h := openLab(t, 3*time.Minute)
	var texts [2][]byte
	for i := range texts {
		header, stream, err := h.stream(ctx, "spinlock-deadlock", 1)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := detect.WriteStream(&b, header, stream); err != nil {
			t.Fatal(err)
		}
		texts[i] = b.Bytes()
		n := len(stream)
		if n == 0 || stream[0].TimeNS >= header.FromNS || stream[n-1].TimeNS <= header.FromNS {
			t.Errorf("%d observations do not reach from before the fault at %d to after it", n, header.FromNS)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Errorf("recorded twice it is another stream:\n%s\n%s", texts[0], texts[1])
	}
}
