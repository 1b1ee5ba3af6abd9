package dom0

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"hangbench/monitor/detect"
)

// TestRecording: what was observed comes back, also when the observation's memory
// was used again meanwhile, and over the wire.
func TestRecording(t *testing.T) {
	var r Recording
	o := detect.Observation{VCPUs: []detect.VCPU{{Online: true, Callers: []string{"a", "b"},
		Queue: &detect.RunQueue{PID: 7}}}}
	var want []detect.Observation
	for i := range 3 {
		o.TimeNS = int64(i + 1)
		o.VCPUs[0].Signals = uint64(10 * i)
		r.add(&o)
		want = append(want, detect.Observation{TimeNS: o.TimeNS,
			VCPUs: []detect.VCPU{{Online: true, Signals: uint64(10 * i), Callers: []string{"a", "b"},
				Queue: &detect.RunQueue{PID: 7}}}})
	}
	r.T0NS = 2
	b, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	var got Recording
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	stream, err := got.Stream()
	if err != nil || got.T0NS != 2 || got.Dropped != 0 || !reflect.DeepEqual(stream, want) {
		t.Errorf("got %+v (T0 %d, dropped %d, %v), want %+v", stream, got.T0NS, got.Dropped, err, want)
	}
	got.Observations[1] = json.RawMessage(`{"time_ns":"x"}`)
	if _, err := got.Stream(); err == nil || !strings.Contains(err.Error(), "recorded observation 1") {
		t.Errorf("a damaged observation: %v", err)
	}
}

// TestRecordingBounded: a recording ends before it is too large, and has no hole.
func TestRecordingBounded(t *testing.T) {
	var r Recording
	large := detect.Observation{Domain: detect.Domain{Shutdown: strings.Repeat("x", maxRecording/4)}}
	for range 10 {
		r.add(&large)
	}
	r.add(&detect.Observation{}) // would fit
	if n := len(r.Observations); n != 3 || r.Dropped != 8 || r.bytes > maxRecording {
		t.Errorf("%d observations of %d bytes, %d dropped; want 3 and 8", n, r.bytes, r.Dropped)
	}
}

// FuzzRecording: whatever a dom0 sends as a recording, it is refused, or sent again it is the
// same.
func FuzzRecording(f *testing.F) {
	var r Recording
	r.add(&detect.Observation{TimeNS: 5, VCPUs: []detect.VCPU{{Online: true, Callers: []string{"a"},
		Queue: &detect.RunQueue{PID: 7}}}})
	r.listen([]byte("a console"))
	b, err := json.Marshal(&r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"t0_ns":-1,"observations":[null,{"vcpus":[{}]},{"time_ns":1e3}],"dropped":-3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Recording
		if json.Unmarshal(b, &r) != nil {
			return
		}
		stream, err := r.Stream()
		if err != nil {
			return
		}
		sent, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(sent, &again); err != nil {
			t.Fatal(err)
		}
		same, err := again.Stream()
		if err != nil || !reflect.DeepEqual(same, stream) || again.T0NS != r.T0NS || again.RemovedNS != r.RemovedNS ||
			again.Dropped != r.Dropped || !bytes.Equal(again.Console, r.Console) {
			t.Fatalf("sent again it is %s, and not %s (%v)", sent, b, err)
		}
	})
}
