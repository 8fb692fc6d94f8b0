"""Families of names that are gone, and that no patch gives back: what to use instead."""

from __future__ import annotations

from .row import advice

#: The name of the family, the releases that have it, what to do, and the names by module.
_LOST: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    (
        "torch.onnx.dynamo_export",
        "<2.9",
        "the exporter of dynamo_export is torch.onnx.export(..., dynamo=True) since 2.5, and takes its options as "
        "arguments. Write that, or use torch 2.8",
        {
            "torch.onnx": "dynamo_export ExportOptions ONNXRuntimeOptions OnnxRegistry DiagnosticOptions ExportOutput "
            "ExportOutputSerializer ONNXProgramSerializer InvalidExportOptionsError enable_fake_mode "
            "is_onnxrt_backend_supported",
        },
    ),
    (
        "torch.onnx.log",
        "<2.6",
        "log, enable_log and the like were the exporter's own logging and checks. It writes with Python's logging now, "
        "and onnx.checker checks a model",
        {
            "torch.onnx": "log set_log_stream enable_log disable_log is_onnx_log_enabled export_to_pretty_string "
            "ExportTypes CheckerError SymbolicContext",
        },
    ),
    (
        "Caffe2",
        "<1.12",
        "torch 1.12 removed Caffe2 and the export to it. Export to ONNX, and run that with onnxruntime",
        {
            "torch.onnx": "symbolic_caffe2",
            "torch.utils": "_caffe2_graph",
        },
    ),
    (
        "torch.distributed.pipeline",
        "<2.4",
        "torch.distributed.pipeline.sync.Pipe is gone: write torch.distributed.pipelining, which splits a model into "
        "stages and has a process for each, or use torch 2.3",
        {"torch.distributed": "pipeline", "torch.distributed.pipeline.sync": "Pipe"},
    ),
    (
        "DataLoader2",
        "<2.0",
        "DataLoader2 and its pipes were experimental in torch and moved to torchdata: install torchdata<0.10, or write "
        "DataLoader",
        {"torch.utils.data": "DataLoader2 communication dataloader_experimental sharding datasets"},
    ),
    (
        "BufferedShuffleDataset",
        "<1.9",
        "BufferedShuffleDataset is a datapipe now: of torch.utils.data.datapipes.iter, "
        "Shuffler(IterableWrapper(data), buffer_size=n)",
        {"torch.utils.data": "BufferedShuffleDataset"},
    ),
    (
        "torch.jit up to 1.6",
        "<1.7",
        "torch.jit was one file with helpers of its own. They are in torch.jit._script, torch.jit._trace, "
        "torch.jit.frontend, torch.jit._recursive and torch._jit_internal, as far as they are still there",
        {
            "torch.jit": "ConstMap DEFAULT_EXTRA_FILES_MAP Module OrderedDictWrapper OrderedModuleDict PY2 PY37 "
            "ScriptMeta ScriptMethodStub Variable get_default_args get_function_from_type get_jit_class_def "
            "get_jit_def indent make_module make_tuple string_classes validate_cuda_device validate_map_location "
            "verify whichmodule with_metaclass wrap_check_inputs wrap_cpp_module",
        },
    ),
    (
        "torch.quantization of FX in 1.7",
        "<1.8",
        "the functions for FX were experimental in 1.7 and rewritten in 1.8: torch.ao.quantization.quantize_fx has "
        "prepare_fx and convert_fx, and get_default_static_quant_module_mappings and the like the tables",
        {
            "torch.quantization": "prepare_fx convert_fx fuse_fx prepare_qat_fx prepare_static_fx prepare_dynamic_fx "
            "convert_static_fx convert_dynamic_fx convert_qat_fx quantize_static_fx quantize_dynamic_fx Fuser "
            "Quantizer "
            "GraphModule graph_pretty_str default_mappings MinMaxDynamicQuantObserver "
            "DEFAULT_DYNAMIC_MODULE_MAPPING DEFAULT_MODULE_MAPPING DEFAULT_QAT_MODULE_MAPPING "
            "DEFAULT_QCONFIG_PROPAGATE_WHITE_LIST DYNAMIC_QUANT_MODULE_MAPPINGS STATIC_QUANT_MODULE_MAPPINGS "
            "QAT_MODULE_MAPPINGS FLOAT_TO_QUANTIZED_OPERATOR_MAPPINGS OP_LIST_TO_FUSER_METHOD "
            "get_static_quant_module_mappings get_dynamic_quant_module_mappings get_qat_module_mappings "
            "get_qconfig_propagation_list register_static_quant_module_class register_dynamic_quant_module_class "
            "register_qat_module_mapping register_quantized_operator_mapping register_fuser_method",
        },
    ),
    (
        "compiled helpers",
        "<2.0",
        "SymIntNode, gen_pyi and the like were internal to torch and have no successor for programs: "
        "torch.SymInt and torch.SymFloat are the numbers of traced shapes, torch.ops.aten.convolution_backward the "
        "gradient of a convolution",
        {
            "torch": "SymIntNode SymFloatNode mkldnn_convolution_backward_weights",
            "torch.cuda": "find_cuda_windows_lib",
            "torch.utils.data": "gen_pyi",
            "torch.onnx": "onnx_supported_ops",
        },
    ),
    (
        "torch.cuda.MemPoolContext",
        "<2.8",
        "a pool is used with torch.cuda.use_mem_pool(pool), as a context",
        {"torch.cuda": "MemPoolContext"},
    ),
    (
        "c10d_error_logger",
        "<2.1",
        "the module c10d_error_logger is torch.distributed.c10d_logger since 2.1",
        {"torch.distributed": "c10d_error_logger"},
    ),
    (
        "torch.jit of 1.8",
        "<1.9",
        "streams in TorchScript were experimental in 1.8: compile the code around them, or use torch.compile. "
        "optimize_frozen_module is torch.jit.optimize_for_inference",
        {"torch.jit": "cuda stream optimize_frozen_module"},
    ),
    (
        "torch.optim.functional",
        "<1.8",
        "torch.optim.functional was experimental in 1.7 and is torch.optim._functional since 1.8; call the optimizer's "
        "class",
        {"torch.optim": "functional"},
    ),
    (
        "kernel launches",
        "<1.11",
        "check_kernel_launches and the like check torch's own CUDA sources, and are in "
        "torch.testing._internal.check_kernel_launches",
        {"torch.testing": "check_code_for_cuda_kernel_launches check_cuda_kernel_launches check_kernel_launches"},
    ),
    (
        "torch.testing.assert_equal",
        "<1.10",
        "write torch.testing.assert_close(a, b, rtol=0, atol=0)",
        {"torch.testing": "assert_equal"},
    ),
    (
        "torchvision.prototype",
        "<0.23",
        "the experiments of torchvision.prototype are in torchvision.transforms.v2, torchvision.tv_tensors and "
        "torchvision.models",
        {"torchvision": "prototype"},
    ),
    (
        "torchaudio's own",
        "<0.10",
        "check_input, extension and the like were torchaudio's own: its checks of arguments, its compiled part, and a "
        "switch between two ways to read files",
        {"torchaudio": "check_input common_utils extension USE_SOUNDFILE_LEGACY_INTERFACE"},
    ),
    (
        "torchaudio.prototype",
        "<2.9",
        "what was in torchaudio.prototype was removed in 2.9, or has moved to torchaudio itself: use "
        "torchaudio 2.8 with torch 2.8",
        {
            "torchaudio": "prototype",
            "torchaudio.prototype": "datasets functional models pipelines transforms",
        },
    ),
    (
        "mobile optimizers",
        "<2.0",
        "CONV_BN_FUSION and the like are members of torch._C._MobileOptimizerType, for "
        "torch.utils.mobile_optimizer.optimize_for_mobile",
        {
            "torch": "MobileOptimizerType CONV_BN_FUSION FUSE_ADD_RELU HOIST_CONV_PACKED_PARAMS "
            "INSERT_FOLD_PREPACK_OPS REMOVE_DROPOUT",
        },
    ),
    (
        "torchvision.io",
        "<0.26",
        "torchvision decodes no videos any more: use torchcodec.decoders.VideoDecoder, or torchvision 0.25 with torch "
        "2.10",
        {"torchvision.io": "VideoReader read_video read_video_timestamps write_video video_reader Video"},
    ),
    (
        "torchaudio.io",
        "<2.9",
        "torchaudio decodes and encodes with torchcodec since 2.9: torchcodec.decoders.AudioDecoder has what "
        "torchaudio.info said (decoder.metadata), and StreamReader's and StreamWriter's work; or use torchaudio 2.8 "
        "with torch 2.8",
        {
            "torchaudio": "info AudioMetaData io kaldi_io backend",
            "torchaudio.backend": "common no_backend soundfile_backend sox_backend sox_io_backend utils",
            "torchaudio.io": "StreamReader StreamWriter AudioEffector CodecConfig play_audio",
        },
    ),
    (
        "torchaudio.sox_effects",
        "<2.9",
        "torchaudio has no SoX any more: apply the effects with torchaudio.functional, or with the package sox; or use "
        "torchaudio 2.8 with torch 2.8",
        {
            "torchaudio": "sox_effects initialize_sox shutdown_sox get_sox_bool get_sox_encoding_t get_sox_option_t "
            "save_encinfo sox_encodinginfo_t sox_signalinfo_t EncodingInfo SignalInfo",
            "torchaudio.sox_effects": "apply_effects_tensor apply_effects_file SoxEffect SoxEffectsChain "
            "init_sox_effects shutdown_sox_effects",
        },
    ),
)

for _called, _works, _reason, _names in _LOST:
    advice(
        _called,
        f"{_reason}.",
        tuple(
            pattern.format(module.replace(".", r"\."), names.replace(" ", "|"))
            for module, names in _names.items()
            for pattern in (
                r"module '{0}' has no attribute '(?:{1})'",
                r"cannot import name '(?:{1})' from '{0}'",
                r"No module named '{0}\.(?:{1})'",
            )
        ),
        works=_works,
        of=next(iter(_names)).partition(".")[0],
    )

advice(
    "named tensors",
    "dimensions have no names any more. Write permute, unflatten and transpose with the numbers of the dimensions; "
    "einops has names for them.",
    (
        r"'Tensor' object has no attribute '(?:align_as|align_to|has_names|names|refine_names|rename_?)'",
        r"module 'torch' has no attribute 'align_tensors'|cannot import name 'align_tensors' from 'torch'",
        r"\b(?:zeros|ones|empty|full|tensor|\w+_like) ?\(\) got an unexpected keyword argument 'names'",
        r"\b(?:rand|randn|empty|zeros|ones)\(\) received an invalid combination of arguments - got \(.*names=tuple",
    ),
    works="<2.13",
)
