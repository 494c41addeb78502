"""`to_equivariant` on networks as others write them."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_redenoise.nn import (
    FieldBatchNorm2d,
    FieldDropout2d,
    GroupConv2d,
    GroupConvTranspose2d,
    LiftingConv2d,
    ProjectionConv2d,
    export,
    parse_group,
    to_equivariant,
)
from napari_redenoise.nn.testing import TOLERANCE, assert_equivariant, equivariance_error


class DnCNN(nn.Module):
    """Zhang et al. 2017: predicts the noise, which is subtracted."""

    def __init__(self, channels: int = 1, width: int = 64, depth: int = 17) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        layers.append(nn.Conv2d(width, channels, 3, padding=1, bias=False))
        self.dncnn = nn.Sequential(*layers)

    def forward(self, x):
        return x - self.dncnn(x)


class Residual(nn.Module):
    """He et al. 2016, with a strided convolution and a 1 x 1 shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResUNet(nn.Module):
    """Residual blocks, strided convolutions down, transposed ones up, skips by concatenation."""

    def __init__(self, channels: int = 1, widths=(32, 48, 64)) -> None:
        super().__init__()
        self.stem = Residual(channels, widths[0])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for above, below in itertools.pairwise(widths):
            self.down.append(Residual(above, below, stride=2))
            self.up.insert(0, nn.ConvTranspose2d(below, above, 2, stride=2))
            self.merge.insert(0, Residual(2 * above, above))
        self.last = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x):
        skips = []
        y = self.stem(x)
        for down in self.down:
            skips.append(y)
            y = down(y)
        for up, merge in zip(self.up, self.merge, strict=True):
            y = merge(torch.cat([skips.pop(), up(y)], dim=1))
        return x + self.last(y)


class CareUNet(nn.Module):
    """The U-Net of CAREamics: double convolutions, max-pooling, upsampling, skips, 1 x 1 last.

    Krull et al. 2019 and Weigert et al. 2018 give the shape.
    """

    def __init__(
        self, channels: int = 1, width: int = 32, depth: int = 2, batch_norm: bool = True,
        mode: str = "bilinear",
    ) -> None:  # fmt: skip
        super().__init__()
        self.batch_norm = batch_norm
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        inputs = channels
        for level in range(depth):
            self.encoder.append(self.block(inputs, width * 2**level))
            inputs = width * 2**level
        self.bottleneck = self.block(inputs, 2 * inputs, inputs)
        self.upsample = nn.Upsample(
            scale_factor=2, mode=mode, **({"align_corners": False} if mode == "bilinear" else {})
        )
        for level in reversed(range(depth)):
            narrow = width * 2 ** max(level - 1, 0)
            self.decoder.append(self.block(2 * width * 2**level, width * 2**level, narrow))
        self.final_conv = nn.Conv2d(width, channels, 1)
        self.final_activation = nn.Identity()

    def block(self, inputs: int, middle: int, outputs: int | None = None) -> nn.Sequential:
        layers = []
        for a, b in ((inputs, middle), (middle, outputs or middle)):
            layers.append(nn.Conv2d(a, b, 3, padding=1))
            layers += [nn.BatchNorm2d(b)] if self.batch_norm else []
            layers += [nn.ReLU(inplace=True), nn.Dropout2d(0.2)]
        return nn.Sequential(*layers)

    def forward(self, x):
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for block in self.decoder:
            x = block(torch.cat([self.upsample(x), skips.pop()], 1))
        return self.final_activation(self.final_conv(x))


class Attention(nn.Module):
    """What else is common: image skips, depthwise convolutions, gates, learned slopes, padding."""

    def __init__(self, channels: int = 3, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect")
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.slope = nn.PReLU(width)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(width, affine=True), nn.GroupNorm(4, width)])
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width // 4, 1), nn.ReLU(),
            nn.Conv2d(width // 4, width, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.where = nn.Conv2d(width, 1, 3, padding="same")
        self.up = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
        self.down = nn.Conv2d(width + channels, width, 4, stride=2, padding=1)
        self.mix = nn.Conv2d(2 * width + channels, channels, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, image):
        x = functional.leaky_relu(self.first(image), 0.1)
        x = x + functional.gelu(self.norms[0](self.depthwise(x)))
        y = self.slope(self.norms[1](self.down(torch.cat([x, image], 1))))
        y = functional.dropout2d(y, 0.1, training=self.training)
        y = y * self.squeeze(y)
        y = y * torch.sigmoid(self.where(y)) + y.mean(dim=1, keepdim=True)
        y = functional.interpolate(self.up(y), size=x.shape[2:], mode="bilinear") / 2
        y = functional.pad(y, [1, 1, 1, 1], mode="reflect")
        y = functional.avg_pool2d(y, 3, stride=1)
        return self.scale * self.mix(torch.cat([x, y, image * 2], dim=1)) + image


NETWORKS = {
    "DnCNN": lambda: DnCNN(width=32),
    "ResUNet": lambda: ResUNet(widths=(16, 24, 32)),
    "CAREamics bilinear": lambda: CareUNet(width=16),
    "CAREamics nearest": lambda: CareUNet(width=16, depth=3, batch_norm=False, mode="nearest"),
    "attention": Attention,
}
each_network = pytest.mark.parametrize("kind", NETWORKS)
each_group = pytest.mark.parametrize("name", ["C4", "C8", "D4"])


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def randomised(network: nn.Module) -> nn.Module:
    """Biases, affines and running statistics as after a training."""
    generator = draw()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "norm.weight")) or (".bn" in name and "weight" in name):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(0, 0.1, generator=generator)
    return network


def plain(kind: str) -> nn.Module:
    """A network that is not equivariant beyond doubt: with weights of He et al. 2015."""
    generator = draw()
    network = NETWORKS[kind]()
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
    return randomised(network)


def converted(kind: str, name: str, **options: object) -> nn.Module:
    module = to_equivariant(plain(kind), parse_group(name), generator=draw(), **options)
    return randomised(module)


def image(kind: str, *size: int) -> torch.Tensor:
    return torch.randn(2, 3 if kind == "attention" else 1, *size, generator=draw())


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@each_network
@each_group
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_result_is_equivariant_and_the_original_is_not(
    use_dtype, dtype, kind: str, name: str
) -> None:
    use_dtype(dtype)
    group, x = parse_group(name), image(kind, 24, 32)
    made = converted(kind, name).eval()
    assert made(x).dtype == dtype
    assert_equivariant(made, x, group)
    rotation = group.exact_elements[1]
    assert equivariance_error(plain(kind).eval(), x, group, rotation) > 0.02


@each_network
@each_group
def test_the_result_says_something_about_its_input(kind: str, name: str) -> None:
    made = converted(kind, name).eval()
    x, other = image(kind, 16, 16), image(kind, 16, 32)[..., 16:]
    with torch.no_grad():
        learned, elsewhere = made(x) - x, made(other) - other
    assert learned.shape == x.shape
    assert learned.std() > 0.05
    assert learned.std((2, 3)).min() > 0.02
    assert (learned - elsewhere).std() > 0.02


@each_network
@each_group
def test_it_has_about_as_many_channels_and_fewer_weights(
    record_property, kind: str, name: str
) -> None:
    before, after = weights(plain(kind)), weights(converted(kind, name))
    record_property("parameters", (before, after))
    # Fields go down by the size of the group, twice, and filters per pair of fields up by it
    # once; layers from and to the image and norms have more than that share.
    share = after / before * len(parse_group(name))
    assert 0.8 < share < (3.2 if kind == "attention" else 2)


def test_dncnn_has_the_weights_that_its_layers_say() -> None:
    made = to_equivariant(DnCNN(), parse_group("C4"))
    # 16 fields: lifting 9 * 16 + 16, inner 9 * 16 * 16 * 4 and a norm of 2 * 16, projection 9 * 16
    assert weights(made) == 160 + 15 * (9216 + 32) + 144


def test_layers_have_the_form_that_their_maps_need() -> None:
    made = to_equivariant(ResUNet(widths=(16, 24, 32)), parse_group("C4"))
    assert type(made.stem.conv1) is LiftingConv2d
    assert type(made.stem.shortcut.get_submodule("0")) is LiftingConv2d
    assert type(made.stem.conv2) is GroupConv2d
    assert type(made.stem.bn2) is FieldBatchNorm2d
    assert type(made.up.get_submodule("0")) is GroupConvTranspose2d
    assert type(made.last) is ProjectionConv2d
    strided, shortcut = made.down.get_submodule("0.conv1"), made.down.get_submodule("0.shortcut.0")
    assert (strided.stride, strided.kernel_size, strided.padding) == (2, 4, 1)
    assert (shortcut.stride, shortcut.kernel_size, shortcut.padding) == (2, 2, 0)
    assert strided.out_fields == shortcut.out_fields == 6


def test_strided_odd_kernels_are_exact_on_odd_sizes_only() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, stride=2, padding=1)
    )
    group = parse_group("C4")
    made = to_equivariant(network, group, widen=False, generator=draw())
    assert made.get_submodule("2").kernel_size == 3
    assert_equivariant(made, torch.randn(1, 1, 13, 17, generator=draw()), group)
    assert equivariance_error(made, torch.randn(1, 1, 12, 16, generator=draw()), group, 1) > 0.1


@pytest.mark.parametrize("keep", [False, True])
def test_fields_are_kept_or_shared_out(keep: bool) -> None:
    made = to_equivariant(DnCNN(width=12, depth=3), parse_group("D4"), keep_fields=keep)
    assert made.dncnn.get_submodule("2").out_fields == (12 if keep else 2)


def test_the_kernel_can_be_chosen_where_it_keeps_the_size() -> None:
    made = to_equivariant(ResUNet(widths=(8, 16)), parse_group("C8"), kernel_size=5)
    assert made.stem.conv2.kernel_size == 5
    assert made.last.kernel_size == 1
    assert made.down.get_submodule("0.conv1").kernel_size == 4
    x = torch.randn(1, 1, 16, 16, generator=draw())
    assert_equivariant(made.eval(), x, parse_group("C8"))


@each_network
def test_the_original_stays_as_it_was(kind: str) -> None:
    network = plain(kind)
    before = copy.deepcopy(network.state_dict())
    made = to_equivariant(network, parse_group("C4"))
    shared = {id(p) for p in made.parameters()} & {id(p) for p in network.parameters()}
    assert not shared
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second = (converted("CAREamics bilinear", "D4").state_dict() for _ in range(2))
    # Making the plain network draws from torch's own generator.
    assert all(torch.equal(first[name], second[name]) for name in first)
    network = plain("CAREamics bilinear")
    state = torch.get_rng_state()
    to_equivariant(network, parse_group("D4"), generator=draw())
    assert torch.equal(state, torch.get_rng_state())


@each_network
def test_mode_and_dtype_are_those_of_the_original(kind: str) -> None:
    for training in (True, False):
        made = to_equivariant(plain(kind).train(training).double(), parse_group("C4"))
        assert {layer.training for layer in made.modules()} == {training}
        assert {p.dtype for p in made.parameters()} == {torch.float64}


def test_layers_without_parameters_keep_dtype_and_device() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8, affine=False), nn.InstanceNorm2d(8),
        nn.Conv2d(8, 1, 3, padding=1),
    )  # fmt: skip
    made = to_equivariant(network.double(), parse_group("C4"))
    assert made.get_submodule("1").running_mean.dtype == torch.float64
    assert made.get_submodule("1").num_batches_tracked.dtype == torch.int64
    x = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    for training in (True, False):
        assert made.train(training)(x).dtype == torch.float64
    elsewhere = to_equivariant(network.to("meta"), parse_group("C4"))
    assert {tensor.device.type for tensor in elsewhere.state_dict().values()} == {"meta"}


@each_network
def test_a_few_steps_of_training_lower_the_loss(kind: str) -> None:
    made = converted(kind, "C4").train()
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    x = image(kind, 16, 16)
    target = functional.avg_pool2d(x, 5, 1, 2)
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(8):
            optimizer.zero_grad()
            loss = functional.mse_loss(made(x), target)
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert min(losses[-3:]) < 0.9 * losses[0]
    assert_equivariant(made.eval(), x, parse_group("C4"))


def test_dropout_drops_fields_and_follows_the_mode() -> None:
    torch.manual_seed(0)
    made = to_equivariant(CareUNet(width=8), parse_group("C4"))
    assert sum(isinstance(layer, FieldDropout2d) for layer in made.modules()) == 10
    x = torch.randn(1, 1, 16, 16)
    assert not torch.equal(made.train()(x), made.train()(x))
    torch.testing.assert_close(made.eval()(x), made.eval()(x), rtol=0, atol=0)


@each_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exported_result_is_plain_and_the_same(use_dtype, dtype, kind: str) -> None:
    use_dtype(dtype)
    made = converted(kind, "D4").eval()
    x, folded = image(kind, 16, 24), export(made)
    limit = 1e-6 if dtype == torch.float32 else 1e-12
    with torch.no_grad():
        assert (folded(x) - made(x)).norm() <= limit * made(x).norm()
    assert not any("basis" in name for name in folded.state_dict())
    homes = {type(layer).__module__.partition(".")[0] for layer in folded.modules()}
    assert homes <= {"torch", "abc"}


def test_a_layer_that_serves_alike_maps_stays_shared() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
            self.again = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            y = self.first(x)
            for _ in range(3):
                y = torch.relu(self.again(y))
            return self.last(y)

    made = to_equivariant(Recurrent(), parse_group("C4"), generator=draw())
    assert sum(isinstance(layer, GroupConv2d) for layer in made.modules()) == 1
    x = torch.randn(1, 1, 8, 8, generator=draw())
    assert_equivariant(made, x, parse_group("C4"))
    folded = export(made)
    torch.testing.assert_close(folded(x), made(x))


@each_group
def test_pads_computed_from_sizes_are_kept(name: str) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
            self.last = nn.Conv2d(16, 1, 1)

        def forward(self, x):
            skip = torch.relu(self.a(x))
            y = self.up(torch.relu(self.b(functional.max_pool2d(skip, 2))))
            rows, columns = skip.size()[2] - y.size()[2], skip.size()[3] - y.size()[3]
            y = functional.pad(
                y, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
            )
            return self.last(torch.cat([skip, y], 1))

    made = to_equivariant(Padded(), parse_group(name), generator=draw())
    assert_equivariant(made, torch.randn(1, 1, 12, 18, generator=draw()), parse_group(name))
    assert made(torch.randn(1, 1, 11, 15)).shape == (1, 1, 11, 15)


def test_image_and_features_of_many_channels_meet_as_fields() -> None:
    class Meeting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.b(torch.relu(self.a(x)) + x)

    made = to_equivariant(Meeting(), parse_group("D4"), generator=draw())
    assert made.a.out_fields == made.b.in_fields == 3
    x = torch.randn(1, 3, 8, 10, generator=draw())
    assert_equivariant(made, x, parse_group("D4"))
    # What meets is the image itself, once per orientation.
    expected = made.b(torch.relu(made.a(x)) + torch.from_numpy(np.repeat(x.numpy(), 8, 1)))
    torch.testing.assert_close(made(x), expected)


def test_a_network_without_inner_maps_is_one_invariant_filter() -> None:
    made = to_equivariant(nn.Sequential(nn.Conv2d(1, 1, 5, padding=2)), parse_group("D4"))
    kernel = made(functional.pad(torch.ones(1, 1, 1, 1), [4] * 4))[0, 0]
    torch.testing.assert_close(kernel, torch.rot90(kernel))
    torch.testing.assert_close(kernel, kernel.flip(1))
    assert kernel.detach().std() > 1e-3
