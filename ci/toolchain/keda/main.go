// Command keda-operator runs KEDA's controller of ScaledObjects and its scalers, unmodified, behind a main package of
// ours: its own also wants CRDs of kinds that the suite does not use, and a metrics adapter beside it, to which it speaks
// gRPC under certificates. Here one process serves the external metrics API too; its flags are those of that server.
package main

import (
	"context"
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
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/metrics/pkg/apis/external_metrics"
	control "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	adapter "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd/options"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/defaults"
)

const (
	requestTimeout = 3 * time.Second // its own default
	resync         = time.Hour
)

// triggers answers the HorizontalPodAutoscalers that the controller makes, as KEDA's own adapter does.
type triggers struct {
	defaults.DefaultExternalMetricsProvider

	scaling.ScaleHandler
}

func (t *triggers) GetExternalMetric(ctx context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	wanted, err := labels.ConvertSelectorToLabelsMap(selector.String())
	if err != nil {
		return nil, err
	}
	return t.GetScaledObjectMetrics(ctx, wanted.Get(v1alpha1.ScaledObjectOwnerAnnotation), namespace, info.Metric)
}

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
	handler := scaling.NewScaleHandler(manager.GetClient(), scales, known, requestTimeout, recorder, access)
	reconciler := &keda.ScaledObjectReconciler{
		Client:       manager.GetClient(),
		Scheme:       known,
		ScaleClient:  scales,
		ScaleHandler: handler,
		EventEmitter: eventemitter.NewEventEmitter(manager.GetClient(), recorder, "kubernetes-default", access),
	}
	if err := reconciler.SetupWithManager(manager, controller.Options{}); err != nil {
		return err
	}
	shared.Start(ctx.Done())
	shared.WaitForCacheSync(ctx.Done())
	unguarded := options.NewCustomMetricsAdapterServerOptions()
	unguarded.Authentication, unguarded.Authorization = nil, nil // on a loopback address, behind an API server that has checked
	metrics := &adapter.AdapterBase{CustomMetricsAdapterServerOptions: unguarded, Name: "keda-operator"}
	if err := metrics.Flags().Parse(os.Args); err != nil {
		return err
	}
	metrics.WithExternalMetrics(&triggers{ScaleHandler: handler})
	together, ctx := errgroup.WithContext(ctx)
	together.Go(func() error { return manager.Start(ctx) })
	together.Go(func() error { return metrics.Run(ctx) })
	return together.Wait()
}
