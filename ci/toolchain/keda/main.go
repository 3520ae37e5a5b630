// Command keda-operator runs KEDA's controller of ScaledObjects and its scalers, unmodified, behind a main package of
// ours: its own also wants certificates for its metrics adapter, and CRDs of kinds that the suite does not use.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/controllers/keda"
	"github.com/kedacore/keda/v2/pkg/eventemitter"
	"github.com/kedacore/keda/v2/pkg/k8s"
	"github.com/kedacore/keda/v2/pkg/metricscollector"
	"github.com/kedacore/keda/v2/pkg/scalers/authentication"
	"github.com/kedacore/keda/v2/pkg/scaling"
	"github.com/kedacore/keda/v2/pkg/scaling/resolver"
	"github.com/kedacore/keda/v2/pkg/util"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	control "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	requestTimeout = 3 * time.Second // its own default
	resync         = time.Hour
)

func main() {
	control.SetLogger(zap.New())
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx := control.SetupSignalHandler()
	config, err := control.GetConfig()
	if err != nil {
		return err
	}
	known := runtime.NewScheme()
	if err := scheme.AddToScheme(known); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(known); err != nil {
		return err
	}
	manager, err := control.NewManager(config, control.Options{
		Scheme:                 known,
		Metrics:                server.Options{BindAddress: "0"},
		Cache:                  cache.Options{DefaultTransform: util.CacheObjectTransform},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return err
	}
	metricscollector.NewMetricsCollectors(false, false)
	if err := util.ConfigureHTTPTransport(util.HTTPTransportConfig{MaxIdleConnsPerHost: 1000, IdleConnTimeout: 90 * time.Second}); err != nil {
		return err
	}
	resolver.SetConfig(&resolver.Config{})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace, err := util.GetClusterObjectNamespace()
	if err != nil {
		return err
	}
	shared := informers.NewSharedInformerFactoryWithOptions(client, resync, informers.WithNamespace(namespace))
	secrets := shared.Core().V1().Secrets().Lister()
	scales, _, err := k8s.InitScaleClient(manager)
	if err != nil {
		return err
	}
	access := &authentication.AuthClientSet{CoreV1Interface: client.CoreV1(), SecretLister: secrets}
	recorder := manager.GetEventRecorder("keda-operator")
	reconciler := &keda.ScaledObjectReconciler{
		Client:       manager.GetClient(),
		Scheme:       known,
		ScaleClient:  scales,
		ScaleHandler: scaling.NewScaleHandler(manager.GetClient(), scales, known, requestTimeout, recorder, access),
		EventEmitter: eventemitter.NewEventEmitter(manager.GetClient(), recorder, "kubernetes-default", access),
	}
	if err := reconciler.SetupWithManager(manager, controller.Options{}); err != nil {
		return err
	}
	shared.Start(ctx.Done())
	shared.WaitForCacheSync(ctx.Done())
	return manager.Start(ctx)
}
