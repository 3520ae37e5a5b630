{{- /*
What cannot work, or would be open to all. Declared helpers:
  jupyterhub.check               all of it
  jupyterhub.checkAuthenticator  who gets in
  jupyterhub.checkConfig         credentials in hub.config
  jupyterhub.checkPublic         a load balancer on the internet
  jupyterhub.checkPublicIngress  the same by an Ingress
  jupyterhub.checkStorage        homes and the hub's database
*/ -}}

{{- define "jupyterhub.check" -}}
{{- include "jupyterhub.checkAuthenticator" . -}}
{{- include "jupyterhub.checkConfig" . -}}
{{- include "jupyterhub.checkPublic" . -}}
{{- include "jupyterhub.checkPublicIngress" . -}}
{{- include "jupyterhub.checkStorage" . -}}
{{- end -}}

{{- define "jupyterhub.checkAuthenticator" -}}
{{- $authenticator := .Values.hub.authenticator -}}
{{- $class := dig "JupyterHub" "authenticator_class" "" .Values.hub.config | toString -}}
{{- if and (eq $authenticator.type "custom") (not $class) -}}
{{- fail "hub.authenticator.type: custom needs a class: set hub.config.JupyterHub.authenticator_class" -}}
{{- end -}}
{{- if and $class (ne $authenticator.type "custom") -}}
{{- fail (printf "hub.config.JupyterHub.authenticator_class: hub.authenticator.type is %s: set it to custom to name a class" $authenticator.type) -}}
{{- end -}}
{{- if and (or (eq $authenticator.type "dummy") (regexMatch "(?i)dummy|tmp|firstuse" $class)) (not $authenticator.allowPasswordless) -}}
{{- fail "hub.authenticator.type: this admits any user by name, without a password: set oidc or github, or allowPasswordless for a rehearsal or kind" -}}
{{- end -}}
{{- if has $authenticator.type (list "oidc" "github") -}}
{{- if not $authenticator.callbackUrl -}}
{{- fail (printf "hub.authenticator.callbackUrl: %s needs it: set https://HOST%shub/oauth_callback" $authenticator.type .Values.hub.baseUrl) -}}
{{- end -}}
{{- $members := ternary $authenticator.oidc.allowedGroups $authenticator.github.allowedOrganizations (eq $authenticator.type "oidc") -}}
{{- if not (or $authenticator.allowAll (include "common.enabledNames" $authenticator.allowedUsers | fromJsonArray) (include "common.enabledNames" $authenticator.adminUsers | fromJsonArray) (include "common.enabledNames" $members | fromJsonArray)) -}}
{{- fail "hub.authenticator: no user could log in: set allowedUsers, adminUsers, oidc.allowedGroups or github.allowedOrganizations, or allowAll" -}}
{{- end -}}
{{- end -}}
{{- if eq $authenticator.type "oidc" -}}
{{- range $key := list "authorizeUrl" "tokenUrl" "userdataUrl" -}}
{{- if not (get $authenticator.oidc $key) -}}
{{- fail (printf "hub.authenticator.oidc.%s: set it to what the identity provider publishes under /.well-known/openid-configuration" $key) -}}
{{- end -}}
{{- end -}}
{{- if and (include "common.enabledNames" $authenticator.oidc.allowedGroups | fromJsonArray) (not $authenticator.oidc.groupsClaim) -}}
{{- fail "hub.authenticator.oidc.groupsClaim: allowedGroups needs the claim that holds a user's groups" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "jupyterhub.checkConfig" -}}
{{- range $class, $traits := .Values.hub.config -}}
{{- range $trait, $value := $traits -}}
{{- if and $value (regexMatch "(secret|password|token|keys)$" $trait) -}}
{{- fail (printf "hub.config.%s.%s: a credential in values is readable to all users: put it into a Secret, and name that in hub.existingSecret or hub.extraEnv" $class $trait) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "jupyterhub.checkPublic" -}}
{{- $service := .Values.proxy.service -}}
{{- if and (eq $service.type "LoadBalancer") (eq $service.loadBalancer.scheme "internet-facing") -}}
{{- if not $service.loadBalancer.certificateArn -}}
{{- fail "proxy.service.loadBalancer.scheme: internet-facing without a certificate sends passwords unencrypted: set certificateArn, or scheme to internal" -}}
{{- end -}}
{{- include "common.loadBalancer.check" (dict "key" "proxy.service" "service" $service "reaches" "hub") -}}
{{- if .Values.hub.authenticator.allowPasswordless -}}
{{- fail "proxy.service.loadBalancer.scheme: internet-facing lets the world in without a password: unset hub.authenticator.allowPasswordless, or set scheme to internal" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Controllers of the AWS Load Balancer Controller and of EKS Auto Mode read the same annotations. */ -}}
{{- define "jupyterhub.checkPublicIngress" -}}
{{- $annotations := .Values.ingress.annotations -}}
{{- $scheme := get $annotations "alb.ingress.kubernetes.io/scheme" | default "" -}}
{{- if and .Values.ingress.enabled (eq $scheme "internet-facing") -}}
{{- if .Values.hub.authenticator.allowPasswordless -}}
{{- fail "ingress.annotations: alb.ingress.kubernetes.io/scheme: internet-facing lets the world in without a password: unset hub.authenticator.allowPasswordless, or set it to internal" -}}
{{- end -}}
{{- range splitList "," (get $annotations "alb.ingress.kubernetes.io/inbound-cidrs" | default "" | nospace) -}}
{{- if . -}}
{{- include "common.checkNotTheWorld" (tuple "ingress.annotations: alb.ingress.kubernetes.io/inbound-cidrs" . "set the ranges of those who use the hub, or the scheme to internal") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "jupyterhub.checkStorage" -}}
{{- $db := .Values.hub.db -}}
{{- $external := has $db.type (list "postgres" "mysql") -}}
{{- if and $external (not $db.url) -}}
{{- fail (printf "hub.db.url: %s needs the address of the database" $db.type) -}}
{{- end -}}
{{- if and $db.url (not $external) -}}
{{- fail (printf "hub.db.url: hub.db.type is %s, which has none: set it to postgres or mysql" $db.type) -}}
{{- end -}}
{{- /* Not by the schema, whose refusal would print the password. */ -}}
{{- if and $db.url (not (regexMatch "^(postgresql|mysql)(\\+[a-z0-9]+)?://([^:@/[:space:]]+@)?[^:@/[:space:]]+(:[0-9]+)?/[^@[:space:]]+$" $db.url)) -}}
{{- fail "hub.db.url: set DIALECT://USER@HOST/DATABASE, with the dialect postgresql or mysql and without the password, which is hub.db.password of the Secret" -}}
{{- end -}}
{{- $storage := .Values.singleuser.storage -}}
{{- if and (eq $storage.type "static") (not $storage.static.pvcName) -}}
{{- fail "singleuser.storage.static.pvcName: static homes need a claim: set the name of one" -}}
{{- end -}}
{{- if and (eq $storage.type "dynamic") (eq $storage.dynamic.accessMode "ReadWriteMany") (not (include "jupyterhub.storageClass" (tuple . $storage.dynamic.storageClass))) -}}
{{- fail "singleuser.storage.dynamic.storageClass: EBS, the default of most clusters, has no ReadWriteMany volumes: set a class of EFS or FSx for Lustre" -}}
{{- end -}}
{{- if and .Values.hub.allowNamedServers (eq $storage.type "dynamic") (eq $storage.dynamic.accessMode "ReadWriteOnce") (not (contains "server" $storage.dynamic.pvcNameTemplate)) -}}
{{- fail "singleuser.storage.dynamic.pvcNameTemplate: two servers of a user cannot mount a ReadWriteOnce volume on two nodes: set claim-{user_server}, or accessMode to ReadWriteMany" -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "jupyterhub.storageClass" (tuple . NAME): NAME, the global one, or nothing. */ -}}
{{- define "jupyterhub.storageClass" -}}
{{- index . 1 | default (include "common.global" (tuple (index . 0) "storageClass")) -}}
{{- end -}}
